"""Measures perijove beside its peers: same machine, same cores, interleaved rounds, medians.

Every server runs on CPU 0; the load and whatever stands behind a proxy run on CPU 1. What counts is
requests per CPU-second of all the server's processes together, which a busy machine disturbs least.
"""

from __future__ import annotations

import argparse
import os
import random
import sys
import tempfile
from collections.abc import Callable
from contextlib import ExitStack
from functools import partial
from pathlib import Path

import peers
from measure import http_load, proportional_kib, websocket_load
from notebooks import measure_notebooks
from peers import TREE, Tools, running
from table import Results

HERE = Path(__file__).resolve().parent

Make = Callable[..., None]


def log(text: str) -> None:
    print(text, file=sys.stderr, flush=True)


class Bench:
    """One run: the tools, the rounds, and the results so far."""

    def __init__(self, tools: Tools, rounds: int, seconds: float, folder: Path) -> None:
        self.tools, self.rounds, self.seconds, self.folder = tools, rounds, seconds, folder
        self.results = Results()

    def rounds_of(
        self, servers: dict[str, Make], measure: Callable[[str, peers.Server], None]
    ) -> None:
        """Starts every server afresh in every round, in an order of its own."""
        for round_number in range(self.rounds):
            order = list(servers)
            random.shuffle(order)
            for name in order:
                log(f"round {round_number + 1}/{self.rounds}: {name}")
                with running(
                    servers[name], self.tools, self.folder / name.replace(" ", "-")
                ) as server:
                    self.results.commands.setdefault(name, " ; ".join(server.commands))
                    measure(name, server)

    def loads(self, name: str, server: peers.Server, workloads: dict[str, dict]) -> None:
        for workload, options in workloads.items():
            options = dict(options)
            url = server.url + options.pop("path")
            http_load(server.roots, url, seconds=1, **options)
            sample = http_load(server.roots, url, seconds=self.seconds, **options)
            self.results.add(workload, name, sample)

    def wsgi(self) -> None:
        for app, workloads in {
            "hello": {
                "small WSGI answer": {"path": "/"},
                "100 KiB answer": {"path": "/large"},
                "100 KiB upload": {"path": "/upload", "script": HERE / "upload.lua"},
            },
            "view": {"Flask JSON view": {"path": "/item/7?page=2"}},
        }.items():
            servers = {
                "perijove": partial(peers.perijove_app, app=app),
                "nginx + gunicorn (sync)": partial(peers.nginx_gunicorn, app=app),
                "nginx + uWSGI": partial(peers.nginx_uwsgi, app=app),
                "granian": partial(peers.granian, app=app),
                "granian, 4 threads": partial(peers.granian, app=app, threads=4),
            }
            self.rounds_of(servers, lambda name, server: self.loads(name, server, workloads))

    def static(self) -> None:
        public = self.folder / "public"
        public.mkdir(exist_ok=True)
        for name, size in {"1k": 1 << 10, "100k": 100 << 10, "10m": 10 << 20}.items():
            (public / f"{name}.txt").write_bytes(b"x" * size)
        workloads = {
            "static 1 KiB": {"path": "/1k.txt"},
            "static 100 KiB": {"path": "/100k.txt"},
            "static 10 MiB": {"path": "/10m.txt", "connections": 8},
        }
        servers = {
            "perijove": partial(peers.perijove_static, public=public),
            "nginx": partial(peers.nginx_static, public=public),
        }
        self.rounds_of(servers, lambda name, server: self.loads(name, server, workloads))

    def proxy(self) -> None:
        with running(peers.small_upstream, self.tools, self.folder / "upstream") as upstream:
            servers = {
                "perijove": partial(peers.perijove_proxy, upstream=upstream.address),
                "nginx": partial(peers.nginx_proxy, upstream=upstream.address),
                "HAProxy": partial(peers.haproxy, upstream=upstream.address),
                "configurable-http-proxy": partial(
                    peers.configurable_http_proxy, upstream=upstream.address
                ),
            }
            workloads = {"HTTP proxying of 1 KiB": {"path": "/"}}
            self.rounds_of(servers, lambda name, server: self.loads(name, server, workloads))

    def websocket(self) -> None:
        examples = TREE / "target" / "release" / "examples"
        echo, load = examples / "websocket_echo", examples / "websocket_load"
        make_echo = partial(peers.websocket_echo, program=echo)
        with running(make_echo, self.tools, self.folder / "echo") as upstream:
            servers = {
                "perijove": partial(peers.perijove_proxy, upstream=upstream.address),
                "nginx": partial(peers.nginx_websocket, upstream=upstream.address),
                "HAProxy": partial(peers.haproxy, upstream=upstream.address),
                "configurable-http-proxy": partial(
                    peers.configurable_http_proxy, upstream=upstream.address
                ),
            }

            def measure(name: str, server: peers.Server) -> None:
                self.idle_memory(name, server, load)
                for size, label in ((64, "64 B"), (65536, "64 KiB")):
                    for connections in (1, 32, 256):
                        sample = websocket_load(
                            server.roots,
                            load,
                            server.address,
                            size=size,
                            connections=connections,
                            seconds=self.seconds,
                        )
                        workload = f"websocket echo {label}, {connections} connections"
                        self.results.add(workload, name, sample)

            self.rounds_of(servers, measure)

    def idle_memory(self, name: str, server: peers.Server, load: Path) -> None:
        """Opens 2,000 silent websockets and counts what the proxy's memory grew by."""
        import subprocess

        count = 2000
        before = proportional_kib(server.roots)
        holder = subprocess.Popen(
            ["taskset", "-c", "1", str(load), server.address, "/", str(count), "0", "60"],
            stdout=subprocess.PIPE,
            text=True,
        )
        try:
            holder.stdout.readline()
            grown = proportional_kib(server.roots) - before
            self.results.add_figure(
                "KiB of memory per idle websocket, of 2,000", name, grown / count
            )
        finally:
            holder.kill()
            holder.wait()

    def notebook(self) -> None:
        measure_notebooks(self.tools, self.results, self.folder, self.rounds)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument(
        "groups", nargs="*", default=["wsgi", "static", "proxy", "websocket", "notebook"]
    )
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--seconds", type=float, default=2.0)
    parser.add_argument("--perijove", type=Path, default=TREE / "target/release/perijove")
    parser.add_argument("--python", type=Path, default=TREE / "target/bench/bin/python")
    parser.add_argument("--node-modules", type=Path, default=TREE / "target/bench/node_modules")
    parser.add_argument("--output", type=Path, default=HERE / "out")
    options = parser.parse_args()
    os.environ.setdefault("PERIJOVE_PACKAGE", str(TREE / "python" / "perijove"))
    tools = Tools(options.perijove, options.python, options.node_modules)
    with ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="pjb")))
        folder.chmod(0o755)
        bench = Bench(tools, options.rounds, options.seconds, folder)
        for group in options.groups:
            getattr(bench, group)()
            bench.results.write(options.output)
    print(bench.results.markdown())


if __name__ == "__main__":
    main()
