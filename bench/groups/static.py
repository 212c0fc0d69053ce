"""Static files: 1 KiB, 100 KiB, 10 MiB, beside nginx with sendfile."""

from __future__ import annotations

from functools import partial
from pathlib import Path

import peers
from servers import Server, Tools

from bench import Bench

SIZES = {"1k": 1 << 10, "100k": 100 << 10, "10m": 10 << 20}

WORKLOADS = {
    "static 1 KiB": {"path": "/1k.txt"},
    "static 100 KiB": {"path": "/100k.txt"},
    "static 10 MiB": {"path": "/10m.txt", "connections": 8},
}


def run(bench: Bench) -> None:
    public = bench.folder / "public"
    public.mkdir(exist_ok=True)
    for name, size in SIZES.items():
        (public / f"{name}.txt").write_bytes(b"x" * size)
    servers = {
        "perijove": partial(perijove_static, public=public),
        "nginx": partial(nginx_static, public=public),
    }
    bench.loads(servers, WORKLOADS)


def perijove_static(server: Server, tools: Tools, folder: Path, public: Path) -> None:
    peers.perijove(
        server, tools, folder, f'[site]\nstatic = [{{ path = "/", folder = "{public}" }}]\n'
    )


def nginx_static(server: Server, tools: Tools, folder: Path, public: Path) -> None:
    peers.nginx(server, folder, f"root {public};")
