"""A Flask site, and websocket servers with Tornado and with Twisted beside it, at one address."""

from __future__ import annotations

import json
import os
import signal
import time
import urllib.parse
import urllib.request
from collections.abc import Callable

import pytest
from example import PATIENCE, Example
from websockets.exceptions import ConnectionClosed
from websockets.sync.client import ClientConnection, connect


@pytest.fixture
def site(example: Callable[[str], Example]) -> Example:
    return example("flask-websockets").serve()


def websocket(site: Example, path: str) -> ClientConnection:
    return connect(site.url.replace("http", "ws", 1) + path, open_timeout=PATIENCE)


def service(site: Example, name: str) -> dict[str, object]:
    services = json.loads(site.tell("status", "--json"))["services"]
    return next(one for one in services if one["name"] == name)


def test_pages_come_from_flask(site: Example) -> None:
    note = urllib.parse.urlencode({"note": "a <note>"}).encode()
    with urllib.request.urlopen(f"{site.url}/notes", note, PATIENCE) as answer:
        assert answer.status == 201


def test_what_one_says_in_the_chat_all_hear(site: Example) -> None:
    with websocket(site, "/chat/") as ada, websocket(site, "/chat/") as bob:
        bob.send("hello")
        assert ada.recv(PATIENCE) == bob.recv(PATIENCE) == "hello"
        ada.send(b"\x00\xff" * 5000)
        assert bob.recv(PATIENCE) == b"\x00\xff" * 5000


def test_the_clock_of_twisted_ticks(site: Example) -> None:
    with websocket(site, "/ticks/") as listener:
        assert listener.recv(PATIENCE) == "tick 0"
        listener.send("on time")
        answers = {listener.recv(PATIENCE), listener.recv(PATIENCE)}
        assert "you said on time" in answers


def test_a_service_that_was_killed_comes_back(site: Example) -> None:
    before = service(site, "chat")["pid"]
    with websocket(site, "/chat/") as ada:
        os.kill(int(str(before)), signal.SIGKILL)
        with pytest.raises(ConnectionClosed):
            ada.recv(PATIENCE)
    deadline = time.monotonic() + PATIENCE
    while service(site, "chat")["restarts"] != 1:
        assert time.monotonic() < deadline
    # Whoever comes meanwhile waits.
    with websocket(site, "/chat/") as bob:
        bob.send("still there")
        assert bob.recv(PATIENCE) == "still there"
    assert service(site, "chat")["pid"] != before


def test_a_reload_leaves_what_has_not_changed(site: Example) -> None:
    before = service(site, "ticks")["pid"]
    with websocket(site, "/ticks/") as listener:
        chat = site.root / "chat.py"
        chat.write_text(chat.read_text() + "\n# a new version\n")
        old = service(site, "chat")["pid"]
        site.tell("reload")
        assert service(site, "chat")["pid"] != old
        assert service(site, "ticks")["pid"] == before
        listener.send("on")
        said = [listener.recv(PATIENCE) for _ in range(3)]
        assert any(str(one).startswith("tick ") for one in said)
