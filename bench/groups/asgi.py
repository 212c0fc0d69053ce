"""ASGI: the smallest answer, a FastAPI view, 100 KiB both ways, websocket echo, beside its servers."""

from __future__ import annotations

import subprocess
from functools import partial
from pathlib import Path

import peers
from measure import websocket_load
from servers import SITES, TREE, Server, Tools, start

from bench import HERE, Bench

HELLO = {
    "small ASGI answer": {"path": "/"},
    "small ASGI answer, 256 connections": {"path": "/", "connections": 256},
    "100 KiB ASGI answer": {"path": "/large"},
    "100 KiB ASGI upload": {"path": "/upload", "script": HERE / "upload.lua"},
}
VIEW = {
    "FastAPI JSON view": {"path": "/item/7?page=2"},
    "FastAPI JSON view, 256 connections": {"path": "/item/7?page=2", "connections": 256},
}
ECHO = {"64 B": 64, "64 KiB": 65536}


def run(bench: Bench) -> None:
    bench.loads(servers("asgi_hello"), HELLO)
    bench.loads(servers("asgi_view"), VIEW)
    build = ["cargo", "build", "--quiet", "--release", "--locked", "-p", "perijove-gateway"]
    subprocess.run([*build, "--example", "websocket_load"], cwd=TREE, check=True)
    load = TREE / "target" / "release" / "examples" / "websocket_load"

    def measure(name: str, server: Server) -> None:
        for label, size in ECHO.items():
            sample = websocket_load(
                server.roots,
                load,
                server.address,
                size=size,
                connections=32,
                seconds=bench.seconds,
            )
            bench.results.add(f"websocket echo by an ASGI application, {label}", name, sample)

    bench.rounds_of(servers("asgi_hello"), measure)


def servers(app: str) -> dict:
    return {
        "perijove": partial(peers.perijove_app, app=app),
        "granian (ASGI)": partial(granian, app=app),
        "uvicorn": partial(uvicorn, app=app),
    }


def granian(server: Server, tools: Tools, folder: Path, app: str) -> None:
    peers.granian(server, tools, folder, app, ["--interface", "asgi", "--loop", "uvloop"])


def uvicorn(server: Server, tools: Tools, folder: Path, app: str) -> None:
    host, _, port = server.address.partition(":")
    command = [
        tools.script("uvicorn"),
        "--loop",
        "uvloop",
        "--http",
        "httptools",
        "--workers",
        "1",
        "--host",
        host,
        "--port",
        port,
        "--no-access-log",
        "--log-level",
        "warning",
        "--app-dir",
        str(SITES),
        f"{app}:application",
    ]
    start(server, command, folder=folder)
