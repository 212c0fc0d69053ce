"""Every driver behind perijove: the smallest answer of a WSGI application, with one process."""

from __future__ import annotations

from functools import partial
from pathlib import Path

import peers
from servers import SITES, TREE, Server, Tools

from bench import Bench

#: The environment that has all servers, as `make test-drivers` makes it.
PYTHON = TREE / "target/venvs/drivers/bin/python"

DRIVERS = {
    "native": ("native", ()),
    "wsgiref": ("wsgiref", ()),
    "gevent": ("gevent", ()),
    "gunicorn (sync)": ("gunicorn", ("--threads", "1")),
    "gunicorn (gthread)": ("gunicorn", ("--threads", "4")),
    "gunicorn (gevent)": ("gunicorn", ("--worker-class", "gevent")),
    "uWSGI": ("uwsgi", ()),
    "mod_wsgi": ("mod_wsgi", ()),
    "uvicorn (WSGI)": ("uvicorn", ("--interface", "wsgi")),
}
WORKLOADS = {
    "small WSGI answer, by driver": {"path": "/"},
    "100 KiB answer, by driver": {"path": "/large"},
}


def run(bench: Bench) -> None:
    servers = {
        f"perijove + {name}": partial(driver, server_name=server, arguments=arguments)
        for name, (server, arguments) in DRIVERS.items()
    }
    bench.loads(servers, WORKLOADS)


def driver(
    server: Server, tools: Tools, folder: Path, server_name: str, arguments: tuple[str, ...]
) -> None:
    words = ", ".join(f'"{word}"' for word in arguments)
    text = (
        f'[site]\nroot = "{SITES}"\napp = "hello:application"\nworkers = 1\n'
        f'python = "{PYTHON}"\nserver = "{server_name}"\nserver-arguments = [{words}]\n'
    )
    peers.perijove(server, tools, folder, text)
