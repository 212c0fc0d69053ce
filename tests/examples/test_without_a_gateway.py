"""A developer's `flask run`, with no perijove in front: notebooks open all the same."""

from __future__ import annotations

import http.client
import os
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import closing
from pathlib import Path
from urllib.parse import urlsplit

import pytest
from example import COMMAND, PACKAGE, PATIENCE

APP = """
from flask import Flask, request
from perijove.flask import launch_notebook, shutdown_notebook

app = Flask(__name__)


@app.get("/shell")
def shell():
    return launch_notebook("ada", {"startup": "answer = 42"})


@app.get("/stop")
def stop():
    shutdown_notebook("ada")
    return "stopped"
"""

Answer = tuple[int, dict[str, str], str]


def ask(url: str, cookie: str = "") -> Answer:
    parts = urlsplit(url)
    fields = {"Host": parts.netloc} | ({"Cookie": cookie} if cookie else {})
    target = parts.path + (f"?{parts.query}" if parts.query else "")
    connection = http.client.HTTPConnection("127.0.0.1", parts.port, timeout=PATIENCE)
    with closing(connection):
        connection.request("GET", target, None, fields)
        answer = connection.getresponse()
        headers = {name.lower(): value for name, value in answer.getheaders()}
        return answer.status, headers, answer.read().decode()


def until(done: Callable[[], bool], what: str) -> None:
    deadline = time.monotonic() + PATIENCE
    while not done():
        assert time.monotonic() < deadline, what
        time.sleep(0.1)


def listens(port: int) -> bool:
    with socket.socket() as probe:
        return probe.connect_ex(("127.0.0.1", port)) == 0


@pytest.fixture
def site(tmp_path: Path) -> Iterator[str]:
    (tmp_path / "app.py").write_text(APP)
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    environment = {
        "PATH": f"{COMMAND.parent}:{os.environ['PATH']}",
        "HOME": str(tmp_path),
        "PYTHONPATH": str(PACKAGE),
        "PERIJOVE_LINGER": "2",
    }
    command = [sys.executable, "-m", "flask", "run", "--port", str(port)]
    with (tmp_path / "log").open("wb") as log:
        process = subprocess.Popen(command, cwd=tmp_path, env=environment, stdout=log, stderr=log)
    try:
        until(lambda: listens(port), (tmp_path / "log").read_text())
        yield f"http://localhost:{port}"
    finally:
        process.terminate()
        process.wait()


def test_a_developers_server_opens_notebooks(site: str, tmp_path: Path) -> None:
    status, launched, text = ask(f"{site}/shell")
    assert status in (302, 303), text + (tmp_path / "log").read_text()
    ticket = launched["location"]
    hub = urlsplit(ticket)
    assert (hub.hostname, hub.path) == ("127.0.0.1", "/notebook/-/ticket")

    # The ticket is good once, and leaves the address.
    status, taken, _ = ask(ticket)
    assert status == 303
    assert taken["referrer-policy"] == "no-referrer"
    assert taken["location"].startswith("/notebook/ada/lab/tree/default-")
    cookie = taken["set-cookie"].split(";")[0]
    again, refused, _ = ask(ticket)
    assert again == 401
    assert "set-cookie" not in refused

    own = f"http://127.0.0.1:{hub.port}/notebook/ada"
    until(lambda: ask(f"{own}/api", cookie)[0] == 200, "the notebook is not ready")
    assert ask(f"{own}/api")[0] == 401
    assert ask(f"{own.replace('ada', 'bob')}/api", cookie)[0] == 403

    # Another launch finds the same hub; a stop ends the notebook.
    assert urlsplit(ask(f"{site}/shell")[1]["location"]).port == hub.port
    assert ask(f"{site}/stop")[2] == "stopped"
    assert ask(f"{own}/api", cookie)[0] == 424


def test_the_hub_ends_when_nobody_needs_it(site: str, tmp_path: Path) -> None:
    hub = urlsplit(ask(f"{site}/shell")[1]["location"])
    assert hub.port is not None
    time.sleep(4)
    assert listens(hub.port), "it ended while the site runs"
    _kill_site(site, tmp_path)
    until(lambda: not listens(hub.port or 0), "it goes on without the site")


def _kill_site(site: str, folder: Path) -> None:
    """However the developer's server ends."""
    for process in Path("/proc").iterdir():
        if not process.name.isdigit():
            continue
        try:
            words = (process / "cmdline").read_bytes().split(b"\0")
            where = (process / "cwd").resolve()
        except OSError:
            continue
        if b"flask" in words and where == folder.resolve():
            os.kill(int(process.name), 9)
    port = urlsplit(site).port or 0
    until(lambda: not listens(port), "the site goes on")
