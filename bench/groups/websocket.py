"""Websockets through a proxy: echo of 64 B and 64 KiB on 1, 32, 256 connections; memory of 2,000 idle ones."""

from __future__ import annotations

import subprocess
from functools import partial
from pathlib import Path

import peers
from measure import proportional_kib, websocket_load
from servers import TREE, Server, Tools, running, start

from bench import Bench

EXAMPLES = TREE / "target" / "release" / "examples"
LOAD = EXAMPLES / "websocket_load"
IDLE = 2000


def run(bench: Bench) -> None:
    build = ["cargo", "build", "--quiet", "--release", "--locked", "-p", "perijove-gateway"]
    subprocess.run([*build, "--examples"], cwd=TREE, check=True)
    with running(echo, bench.tools, bench.folder / "echo") as upstream:
        servers = {
            "perijove": partial(peers.perijove_proxy, upstream=upstream.address),
            "nginx": partial(nginx_websocket, upstream=upstream.address),
            "HAProxy": partial(peers.haproxy, upstream=upstream.address),
            "configurable-http-proxy": partial(
                peers.configurable_http_proxy, upstream=upstream.address
            ),
        }
        bench.rounds_of(servers, partial(measure, bench))


def measure(bench: Bench, name: str, server: Server) -> None:
    idle_memory(bench, name, server)
    for size, label in ((64, "64 B"), (65536, "64 KiB")):
        for connections in (1, 32, 256):
            sample = websocket_load(
                server.roots,
                LOAD,
                server.address,
                size=size,
                connections=connections,
                seconds=bench.seconds,
            )
            bench.results.add(f"websocket echo {label}, {connections} connections", name, sample)


def idle_memory(bench: Bench, name: str, server: Server) -> None:
    """Opens silent websockets and counts what the proxy's memory grew by."""
    before = proportional_kib(server.roots)
    holder = subprocess.Popen(
        ["taskset", "-c", "1", str(LOAD), server.address, "/", str(IDLE), "0", "60"],
        stdout=subprocess.PIPE,
        text=True,
    )
    try:
        holder.stdout.readline()
        grown = proportional_kib(server.roots) - before
        figure = f"KiB of memory per idle websocket, of {IDLE:,}"
        bench.results.add_figure(figure, name, grown / IDLE)
    finally:
        holder.kill()
        holder.wait()


WEBSOCKET = (
    "proxy_http_version 1.1; proxy_set_header Upgrade $http_upgrade; "
    'proxy_set_header Connection "upgrade"; proxy_read_timeout 1d;'
)


def nginx_websocket(server: Server, tools: Tools, folder: Path, upstream: str) -> None:
    peers.nginx(server, folder, f"location / {{ proxy_pass http://{upstream}; {WEBSOCKET} }}")


def echo(server: Server, tools: Tools, folder: Path) -> None:
    start(server, [str(EXAMPLES / "websocket_echo"), server.address], folder=folder, cpu=1)
