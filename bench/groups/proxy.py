"""Proxying of HTTP: 1 KiB from a kept-alive upstream, beside nginx, HAProxy and configurable-http-proxy."""

from __future__ import annotations

from functools import partial
from pathlib import Path

import peers
from servers import Server, Tools, running

from bench import Bench

WORKLOADS = {"HTTP proxying of 1 KiB": {"path": "/"}}


def run(bench: Bench) -> None:
    with running(small_upstream, bench.tools, bench.folder / "upstream") as upstream:
        servers = {
            "perijove": partial(peers.perijove_proxy, upstream=upstream.address),
            "nginx": partial(nginx_proxy, upstream=upstream.address),
            "HAProxy": partial(peers.haproxy, upstream=upstream.address),
            "configurable-http-proxy": partial(
                peers.configurable_http_proxy, upstream=upstream.address
            ),
        }
        bench.loads(servers, WORKLOADS)


def nginx_proxy(server: Server, tools: Tools, folder: Path, upstream: str) -> None:
    peers.nginx(
        server,
        folder,
        'location / { proxy_pass http://up; proxy_http_version 1.1; proxy_set_header Connection ""; }',
        extra=f"upstream up {{ server {upstream}; keepalive 64; keepalive_requests 100000000; }}",
    )


def small_upstream(server: Server, tools: Tools, folder: Path) -> None:
    """1 KiB for everything, from nginx on the other CPU."""
    (folder / "index.html").write_text("x" * 1024)
    peers.nginx(
        server, folder, f"root {folder}; location / {{ try_files /index.html =404; }}", cpu=1
    )
