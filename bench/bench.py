"""One run of the measurements: the tools, the rounds, and the results so far."""

from __future__ import annotations

import random
import sys
from collections.abc import Callable
from pathlib import Path

from measure import http_load
from servers import Server, Tools, running
from table import Results

HERE = Path(__file__).resolve().parent

Make = Callable[..., None]


class Bench:
    """What a group is given: it starts servers, measures them, and adds to `results`."""

    def __init__(self, tools: Tools, rounds: int, seconds: float, folder: Path) -> None:
        self.tools, self.rounds, self.seconds, self.folder = tools, rounds, seconds, folder
        self.results = Results()
        self.group = ""

    def rounds_of(self, servers: dict[str, Make], measure: Callable[[str, Server], None]) -> None:
        """Starts every server afresh in every round, in an order of its own."""
        for round_number in range(self.rounds):
            order = list(servers)
            random.shuffle(order)
            for name in order:
                log(f"round {round_number + 1}/{self.rounds}: {name}")
                folder = self.folder / name.replace(" ", "-")
                with running(servers[name], self.tools, folder) as server:
                    self.note_commands(name, server)
                    measure(name, server)

    def note_commands(self, name: str, server: Server) -> None:
        commands = [text.replace(str(self.folder), "FOLDER") for text in server.commands]
        self.results.add_commands(self.group, name, commands)

    def loads(self, servers: dict[str, Make], workloads: dict[str, dict]) -> None:
        """Measures every workload at every server: `path`, and what else `http_load` takes."""

        def measure(name: str, server: Server) -> None:
            for workload, given in workloads.items():
                options = dict(given)
                url = server.url + options.pop("path")
                http_load(server.roots, url, seconds=1, **options)
                sample = http_load(server.roots, url, seconds=self.seconds, **options)
                self.results.add(workload, name, sample)

        self.rounds_of(servers, measure)


def log(text: str) -> None:
    print(text, file=sys.stderr, flush=True)
