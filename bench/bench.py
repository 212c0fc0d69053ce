"""One run of the measurements: the tools, the rounds, and the results so far."""

from __future__ import annotations

import contextlib
import random
import sys
from collections.abc import Callable
from pathlib import Path

from measure import http_load
from servers import Server, Tools, running
from table import Results

HERE = Path(__file__).resolve().parent

Make = Callable[..., None]

# Samples of every workload and server in a round.
TURNS = 4


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
                with running(servers[name], self.tools, self.own_folder(name)) as server:
                    self.note_commands(name, server)
                    measure(name, server)

    def note_commands(self, name: str, server: Server) -> None:
        commands = [text.replace(str(self.folder), "FOLDER") for text in server.commands]
        self.results.add_commands(self.group, name, commands)

    def loads(self, servers: dict[str, Make], workloads: dict[str, dict]) -> None:
        """Measures every workload at every server: `path`, and what else `http_load` takes.

        All run side by side and take turns of a second or so, so that what else the machine does
        meets all of them alike: ratios are of samples that were taken one after the other.
        """
        for round_number in range(self.rounds):
            log(f"round {round_number + 1}/{self.rounds}: {', '.join(servers)}")
            with contextlib.ExitStack() as stack:
                started = {
                    name: stack.enter_context(running(make, self.tools, self.own_folder(name)))
                    for name, make in servers.items()
                }
                for name, server in started.items():
                    self.note_commands(name, server)
                for workload, options in workloads.items():
                    self.take_turns(started, workload, options)

    def take_turns(self, servers: dict[str, Server], workload: str, options: dict) -> None:
        for turn in range(1 + TURNS):
            order = list(servers.items())
            random.shuffle(order)
            for name, server in order:
                given = dict(options)
                url = server.url + given.pop("path")
                sample = http_load(server.roots, url, seconds=self.seconds, **given)
                # The first turn warms up.
                if turn:
                    self.results.add(workload, name, sample)

    def own_folder(self, name: str) -> Path:
        return self.folder / name.replace(" ", "-")


def log(text: str) -> None:
    print(text, file=sys.stderr, flush=True)
