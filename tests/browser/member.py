"""Somebody who is signed in to the demo site, without a browser: requests and websockets."""

from __future__ import annotations

import http.client
import json
import socket
import time
import uuid
from collections.abc import Iterator
from contextlib import closing, contextmanager
from typing import Any
from urllib.parse import urlencode, urlsplit

from site_under_test import PATIENCE
from websockets.sync.client import ClientConnection, connect


class Member:
    """A user's name and password turned into a session's cookie."""

    def __init__(self, url: str, name: str) -> None:
        self.url, self.name = url, name
        form = {"username": name, "password": "password"}
        with closing(self.connection()) as connection:
            kind = {"Content-Type": "application/x-www-form-urlencoded"}
            connection.request("POST", "/login", urlencode(form), kind)
            answer = connection.getresponse()
            answer.read()
            cookies = answer.headers.get_all("Set-Cookie") or []
        assert answer.status == 303, answer.status
        self.cookie = "; ".join(cookie.split(";")[0] for cookie in cookies)

    def connection(self) -> http.client.HTTPConnection:
        return http.client.HTTPConnection(urlsplit(self.url).netloc, timeout=PATIENCE)

    @property
    def fields(self) -> dict[str, str]:
        return {"Cookie": self.cookie, "Origin": self.url}

    def ask(self, method: str, path: str, body: Any = None) -> Any:
        """One request of Jupyter's API, below the notebook's address."""
        with closing(self.connection()) as connection:
            text = json.dumps(body) if body is not None else None
            connection.request(method, f"/notebook/{self.name}/{path}", text, self.fields)
            answer = connection.getresponse()
            told = answer.read()
        assert 200 <= answer.status < 300, (answer.status, told)
        return json.loads(told) if told else None

    def websocket(self, path: str, through: str | None = None) -> ClientConnection:
        """A websocket below the notebook's address; `through` is an address in place of the
        site's."""
        host = urlsplit(self.url).netloc
        address, port = (through or host).rsplit(":", 1)
        return connect(
            f"ws://{host}/notebook/{self.name}/{path}",
            sock=socket.create_connection((address, int(port)), PATIENCE),
            additional_headers={"Cookie": self.cookie},
            origin=self.url,  # type: ignore[arg-type]
            open_timeout=PATIENCE,
            close_timeout=1,
            # As browsers do: they answer pings and send none.
            ping_interval=None,
            max_size=None,
            proxy=None,
        )


class Kernel:
    """A kernel as one page sees it."""

    def __init__(self, member: Member, kernel: str, notebook: str = "") -> None:
        """`notebook` is the part of the address of one that is not the first: `~name/`."""
        self.member, self.address = member, f"{notebook}api/kernels/{kernel}/channels"
        self.session = uuid.uuid4().hex
        self.socket: ClientConnection

    @contextmanager
    def connected(self, through: str | None = None) -> Iterator[Kernel]:
        """Connects, for the first time or once more as the same page."""
        path = f"{self.address}?session_id={self.session}"
        with self.member.websocket(path, through) as self.socket:
            yield self

    def send(self, code: str) -> str:
        """Asks for a cell to be run; the id of what comes of it."""
        message = {
            "channel": "shell",
            "header": {
                "msg_id": uuid.uuid4().hex,
                "msg_type": "execute_request",
                "session": self.session,
                "username": "",
                "version": "5.3",
            },
            "parent_header": {},
            "metadata": {},
            "content": {"code": code, "silent": False, "store_history": True},
        }
        self.socket.send(json.dumps(message))
        return str(message["header"]["msg_id"])  # type: ignore[index]

    def shown(self, parent: str, until: str | None = None) -> str:
        """What a cell has printed and answered: till its end, or till that has come."""
        text = ""
        while until is None or until not in text:
            piece = self._next(parent, PATIENCE)
            if piece is None:
                break
            text += piece
        return text

    def shown_within(self, seconds: float, parent: str) -> str:
        """The same within so many seconds."""
        text, end = "", time.monotonic() + seconds
        while (left := end - time.monotonic()) > 0:
            try:
                text += self._next(parent, left) or ""
            except TimeoutError:
                break
        return text

    def _next(self, parent: str, seconds: float) -> str | None:
        """The next that it shows, perhaps nothing; None at its end."""
        told = json.loads(self.socket.recv(seconds))
        content, kind = told["content"], told["msg_type"]
        if told["parent_header"].get("msg_id") != parent:
            return ""
        if kind == "status" and content["execution_state"] == "idle":
            return None
        shown = {
            "stream": lambda: content["text"],
            "execute_result": lambda: content["data"]["text/plain"],
            "error": lambda: f"{content['ename']}: {content['evalue']}",
        }
        return str(shown[kind]()) if kind in shown else ""

    def run(self, code: str) -> str:
        return self.shown(self.send(code))
