"""Deploys: what visitors notice while a new version takes over: requests that fail, and the longest gap.

Four visitors ask for the smallest answer again and again, two on connections that are kept, two on new
ones; every second the site gets a new version. A gap is the longest time in which nobody was answered.
"""

from __future__ import annotations

import http.client
import itertools
import os
import signal
import subprocess
import threading
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path

import peers
from servers import SITES, Server, Tools, start, stop, wait_for

from bench import Bench

DEPLOYS = 5
#: Between two requests of a visitor, and after a deploy: in seconds.
PAUSE, AFTER = 0.002, 1.0
WORKERS = "2"

Deploy = Callable[[Server, Tools, Path], None]


def run(bench: Bench) -> None:
    ways: dict[str, tuple[Callable[..., None], Deploy]] = {
        "perijove reload": (site, partial(perijove, command="reload")),
        "perijove upgrade": (site, partial(perijove, command="upgrade")),
        "gunicorn HUP": (gunicorn, hang_up),
        "Granian HUP": (granian, hang_up),
        "nginx + gunicorn restart": (nginx_gunicorn, restart),
    }
    servers = {name: make for name, (make, _) in ways.items()}

    def measure(name: str, server: Server) -> None:
        _, deploy = ways[name]
        visitors = Visitors(server.address)
        for _ in range(DEPLOYS):
            deploy(server, bench.tools, server.folder)
            time.sleep(AFTER)
        visitors.leave()
        bench.results.add_figure("failed requests per deploy", name, visitors.failed / DEPLOYS)
        bench.results.add_figure("longest gap in ms", name, visitors.gap() * 1000)
        bench.results.add_figure("slowest answer in ms", name, visitors.slowest * 1000)

    bench.rounds_of(servers, measure)


class Visitors:
    """Four visitors, until they are told to leave."""

    def __init__(self, address: str) -> None:
        self.address, self.failed, self.slowest = address, 0, 0.0
        self.answered: list[float] = []
        self.is_over = threading.Event()
        self.threads = [
            threading.Thread(target=self.visit, args=(is_kept,))
            for is_kept in (True, True, False, False)
        ]
        for thread in self.threads:
            thread.start()
        time.sleep(AFTER)

    def visit(self, is_kept: bool) -> None:
        connection = None
        while not self.is_over.wait(PAUSE):
            begin = time.monotonic()
            try:
                connection = connection or http.client.HTTPConnection(self.address, timeout=30)
                connection.request("GET", "/")
                answer = connection.getresponse()
                answer.read()
                if answer.status != 200:
                    raise http.client.HTTPException(answer.status)
                now = time.monotonic()
                self.answered.append(now)
                self.slowest = max(self.slowest, now - begin)
            except (OSError, http.client.HTTPException):
                self.failed += 1
                is_broken = True
            else:
                is_broken = False
            if connection and (is_broken or not is_kept):
                connection.close()
                connection = None

    def leave(self) -> None:
        self.is_over.set()
        for thread in self.threads:
            thread.join()

    def gap(self) -> float:
        times = sorted(self.answered)
        return max((b - a for a, b in itertools.pairwise(times)), default=0.0)


def site(server: Server, tools: Tools, folder: Path) -> None:
    peers.perijove(
        server,
        tools,
        folder,
        f'[site]\nroot = "{SITES}"\napp = "hello:application"\nworkers = {WORKERS}\n'
        f'python = "{tools.python}"\n',
    )


def perijove(server: Server, tools: Tools, folder: Path, command: str) -> None:
    words = [str(tools.perijove), command, "--config", "perijove.toml"]
    subprocess.run(words, cwd=folder, check=True, capture_output=True)


def gunicorn_command(tools: Tools, bind: str) -> list[str]:
    workers = ["-w", WORKERS, "-k", "gthread", "--threads", "4"]
    return [
        tools.script("gunicorn"),
        *workers,
        "-b",
        bind,
        "--chdir",
        str(SITES),
        "hello:application",
    ]


def gunicorn(server: Server, tools: Tools, folder: Path) -> None:
    start(server, gunicorn_command(tools, server.address), folder=folder)


def granian(server: Server, tools: Tools, folder: Path) -> None:
    host, _, port = server.address.partition(":")
    address = ["--host", host, "--port", port]
    command = [tools.script("granian"), "--interface", "wsgi", "--workers", WORKERS, *address]
    command += ["--blocking-threads", "4", "--no-access-log", "--working-dir", str(SITES)]
    start(server, [*command, "hello:application"], folder=folder)


def hang_up(server: Server, tools: Tools, folder: Path) -> None:
    os.kill(server.processes[0].pid, signal.SIGHUP)


def nginx_gunicorn(server: Server, tools: Tools, folder: Path) -> None:
    sock = folder / "app.sock"
    start(server, gunicorn_command(tools, f"unix:{sock}"), folder=folder)
    wait_for(sock)
    peers.nginx(server, folder, f"location / {{ proxy_pass http://unix:{sock}; }}")


def restart(server: Server, tools: Tools, folder: Path) -> None:
    """Ends gunicorn and starts it again, as service managers do; nginx stays."""
    behind = Server(server.address, folder, server.processes[:1])
    stop(behind)
    sock = folder / "app.sock"
    again = Server(server.address, folder)
    start(again, gunicorn_command(tools, f"unix:{sock}"), folder=folder)
    server.processes[0] = again.processes[0]
    wait_for(sock)
