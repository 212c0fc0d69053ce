"""What one user's browser does, without the browser: requests, a kernel over its websocket."""

from __future__ import annotations

import http.client
import json
import uuid
from contextlib import closing
from typing import Any

from websockets.sync.client import ClientConnection, connect

#: Seconds for one answer. Perijove may be away meanwhile, and then there is a reset at once.
ANSWER = 30.0


#: States of a kernel that has ended.
GONE = ("restarting", "autorestarting", "dead", "terminating")


class Trouble(Exception):
    """It did not work this time; trying again is all right."""


class Client:
    def __init__(self, address: str, user: str) -> None:
        self.address, self.user = address, user
        self.base = f"/notebook/{user}/"
        self.fields = {"Cookie": f"visitor={user}", "Origin": f"http://{address}"}

    def ask(self, method: str, path: str, body: Any = None) -> tuple[int, Any]:
        """The status, and the answer as JSON or as bytes."""
        data = None if body is None else json.dumps(body).encode()
        connection = http.client.HTTPConnection(self.address, timeout=ANSWER)
        with closing(connection):
            try:
                connection.request(method, path, data, self.fields)
                answer = connection.getresponse()
                content = answer.read()
            except (OSError, http.client.HTTPException) as error:
                raise Trouble(f"{method} {path}: {error!r}") from error
        # A file is bytes, whatever is in it.
        is_json = "json" in (answer.headers["Content-Type"] or "") and "/files/" not in path
        if is_json:
            return answer.status, json.loads(content)
        return answer.status, content

    def get(self, path: str) -> Any:
        """What lies below the notebook; `Trouble` unless it is there."""
        status, content = self.ask("GET", self.base + path)
        if status != 200:
            raise Trouble(f"GET {path}: {status}")
        return content

    def channels(self, kernel: str) -> Channels:
        path = f"{self.base}api/kernels/{kernel}/channels?session_id={uuid.uuid4().hex}"
        try:
            socket = connect(
                f"ws://{self.address}{path}",
                additional_headers=self.fields,
                open_timeout=ANSWER,
                max_size=None,
                proxy=None,
            )
        except Exception as error:
            raise Trouble(f"the websocket: {error!r}") from error
        return Channels(socket)


class Channels:
    """A kernel's websocket."""

    def __init__(self, socket: ClientConnection) -> None:
        self.socket = socket

    def close(self) -> None:
        self.socket.close_timeout = 1
        self.socket.close()

    def run(self, code: str, within: float = ANSWER) -> str:
        """What a cell shows. `Trouble`: nobody knows whether it ran."""
        number = uuid.uuid4().hex
        header = {"msg_id": number, "msg_type": "execute_request", "session": "chaos"}
        message = {
            "channel": "shell",
            "header": header | {"username": "", "version": "5.3"},
            "parent_header": {},
            "metadata": {},
            "content": {"code": code, "silent": False, "store_history": False},
        }
        shown: list[str] = []
        try:
            self.socket.send(json.dumps(message))
            while True:
                told = json.loads(self.socket.recv(within))
                if told["content"].get("execution_state") in GONE:
                    raise Trouble("the kernel has died")
                if told["parent_header"].get("msg_id") != number:
                    continue
                content, kind = told["content"], told["msg_type"]
                if kind == "stream":
                    shown.append(content["text"])
                elif kind == "execute_result":
                    shown.append(content["data"]["text/plain"])
                elif kind == "error":
                    shown.append(f"{content['ename']}: {content['evalue']}")
                elif kind == "status" and content["execution_state"] == "idle":
                    return "".join(shown).strip()
        except Exception as error:
            raise Trouble(f"the websocket: {error!r}") from error
