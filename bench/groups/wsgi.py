"""WSGI: the smallest answer, a Flask view, 100 KiB both ways, beside the servers sites use today."""

from __future__ import annotations

from functools import partial
from pathlib import Path

import peers
from servers import SITES, Server, Tools, start, wait_for

from bench import HERE, Bench

WORKLOADS = {
    "hello": {
        "small WSGI answer": {"path": "/"},
        "small WSGI answer, 256 connections": {"path": "/", "connections": 256},
        "100 KiB answer": {"path": "/large"},
        "100 KiB upload": {"path": "/upload", "script": HERE / "upload.lua"},
    },
    "view": {
        "Flask JSON view": {"path": "/item/7?page=2"},
        "Flask JSON view, 256 connections": {"path": "/item/7?page=2", "connections": 256},
    },
}


def run(bench: Bench) -> None:
    for app, workloads in WORKLOADS.items():
        servers = {
            "perijove": partial(peers.perijove_app, app=app),
            "nginx + gunicorn (sync)": partial(nginx_gunicorn, app=app),
            "nginx + uWSGI": partial(nginx_uwsgi, app=app),
            "granian, 1 thread": partial(granian, app=app, threads=1),
            "granian, 4 threads": partial(granian, app=app, threads=4),
            "bjoern": partial(bjoern, app=app),
        }
        bench.loads(servers, workloads)


def nginx_gunicorn(server: Server, tools: Tools, folder: Path, app: str) -> None:
    sock = folder / "app.sock"
    command = [
        tools.script("gunicorn"),
        "-w",
        "1",
        "-k",
        "sync",
        "-b",
        f"unix:{sock}",
        "--chdir",
        str(SITES),
        f"{app}:application",
    ]
    start(server, command, folder=folder)
    wait_for(sock)
    peers.nginx(server, folder, f"location / {{ proxy_pass http://unix:{sock}; }}")


def nginx_uwsgi(server: Server, tools: Tools, folder: Path, app: str) -> None:
    sock = folder / "app.sock"
    command = [
        tools.script("uwsgi"),
        "--master",
        "--processes",
        "1",
        "--socket",
        str(sock),
        "--chdir",
        str(SITES),
        "--module",
        f"{app}:application",
        "--disable-logging",
        "--listen",
        "1024",
        "--virtualenv",
        str(tools.python.parent.parent),
    ]
    start(server, command, folder=folder)
    wait_for(sock)
    include = "/etc/nginx/uwsgi_params"
    peers.nginx(server, folder, f"location / {{ include {include}; uwsgi_pass unix:{sock}; }}")


def granian(server: Server, tools: Tools, folder: Path, app: str, threads: int) -> None:
    given = ["--interface", "wsgi", "--blocking-threads", str(threads)]
    peers.granian(server, tools, folder, app, given)


def bjoern(server: Server, tools: Tools, folder: Path, app: str) -> None:
    host, _, port = server.address.partition(":")
    command = [str(tools.python), str(SITES / "on_bjoern.py"), f"{app}:application", host, port]
    start(server, command, folder=folder)
