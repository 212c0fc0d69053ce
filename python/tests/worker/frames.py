"""A small gateway for tests: starts a real worker process and speaks frames with it."""

from __future__ import annotations

import array
import json
import mmap
import os
import select
import signal
import socket
import struct
import subprocess
import sys
import tempfile
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

PACKAGE = Path(os.environ.get("PERIJOVE_PACKAGE") or Path(__file__).parents[2] / "perijove")
APPS = Path(__file__).parent / "apps"
SECRET = "5ec2e7" * 4
PATIENCE = 30
"""Seconds after which a test has failed."""

HELLO, REQUEST, BODY, CREDIT, CANCEL, TRAY, OPEN = 1, 2, 3, 4, 5, 6, 32
READY, RESPONSE, BODY_OUT, FILE, CREDIT_OUT, RESET, TRAY_OUT = 16, 17, 18, 19, 20, 21, 22
ENTERED = 33
NAMES = {
    READY: "READY",
    RESPONSE: "RESPONSE",
    BODY_OUT: "BODY",
    FILE: "FILE",
    CREDIT_OUT: "CREDIT",
    RESET: "RESET",
    TRAY_OUT: "TRAY",
}
CONTINUATION, TEXT = 0, 1
CLAIMS, TRAYS, TRAY_SIZE = 4096, 32, 131_072
FIRST_TRAY = CLAIMS + 4096
"""The memory that is shared: claims, one byte for each tray, the trays."""
IS_ASGI, TAKES_TRAYS = 1, 2
END = 1
FIRST_BODY = 65_536


def frame(kind: int, id: int = 0, payload: bytes = b"", end: bool = False) -> bytes:
    return struct.pack("<IBBHI", len(payload), kind, END if end else 0, 0, id) + payload


def request_payload(
    method: str = "GET",
    target: str | bytes = "/",
    headers: list[tuple[str, str | bytes]] | None = None,
    *,
    version: int = 1,
    https: bool = False,
    body: tuple[int, int] = (0, 0),
    first: bytes = b"",
    mount: str = "",
    server: str = "example.org",
    port: int = 8000,
    client: tuple[str, str] = ("203.0.113.7", "50000"),
    request_id: str = "req-1",
) -> bytes:
    kind, length = body
    parts = [struct.pack("<BBBBQH", version, https, kind, 0, length, port)]
    for text in (method, mount, target, server, *client, request_id):
        data = text.encode("latin-1") if isinstance(text, str) else text
        parts.append(struct.pack("<H", len(data)) + data)
    headers = [("host", "example.org:8000")] if headers is None else headers
    parts.append(struct.pack("<H", len(headers)))
    for name, value in headers:
        data = value.encode("latin-1") if isinstance(value, str) else value
        parts.append(struct.pack("<HI", len(name), len(data)) + name.encode() + data)
    return b"".join([*parts, first])


@dataclass
class Answer:
    """What has come of the answer to one request."""

    status: int = 0
    headers: list[tuple[str, str]] = field(default_factory=list)
    body: bytes = b""
    file: tuple[int, int, int] | None = None
    """Descriptor, offset, length."""
    reset: str | None = None
    is_ended: bool = False
    credit: int = 0
    """Bytes of the request's body that were asked for."""
    frames: list[str] = field(default_factory=list)

    def get(self, name: str) -> str | None:
        found = [value for other, value in self.headers if other.lower() == name.lower()]
        return found[0] if found else None

    @property
    def text(self) -> str:
        return self.body.decode()

    @property
    def json(self) -> Any:
        return json.loads(self.body)


class Connection:
    """One connection to a worker, with its claims, and with a shelf if that is wanted."""

    def __init__(self, path: str, secret: str = SECRET, *, shelf: bool = False) -> None:
        self.socket = socket.socket(socket.AF_UNIX)
        self.socket.settimeout(PATIENCE)
        self.socket.connect(path)
        claims = os.memfd_create("claims")
        size = FIRST_TRAY + TRAYS * TRAY_SIZE if shelf else CLAIMS
        os.ftruncate(claims, size)
        self.claims = mmap.mmap(claims, size)
        self.shelf = shelf
        hello = frame(HELLO, 0, bytes([1]) + secret.encode())
        rights = array.array("i", [claims])
        self.socket.sendmsg([hello], [(socket.SOL_SOCKET, socket.SCM_RIGHTS, rights)])
        os.close(claims)
        self.buffer = b""
        self.descriptors: list[int] = []
        self.answers: dict[int, Answer] = {}
        self.ready: tuple[int, int] | None = None
        self.is_asgi = False
        self.next_id = 0

    def close(self) -> None:
        self.socket.close()
        self.claims.close()
        for answer in self.answers.values():
            if answer.file:
                os.close(answer.file[0])

    def wait_ready(self) -> tuple[int, int]:
        while self.ready is None:
            self.read()
        return self.ready

    def send(
        self,
        method: str = "GET",
        target: str | bytes = "/",
        headers: list[tuple[str, str | bytes]] | None = None,
        *,
        body: bytes | None = None,
        chunked: bool = False,
        hold: bool = False,
        id: int | None = None,
        **others: Any,
    ) -> int:
        """Sends a request, with what of its body may be sent at once; its id.

        `hold` sends nothing of the body.
        """
        if id is None:
            id, self.next_id = self.next_id, self.next_id + 1
        self.claims[id] = 0
        self.answers[id] = Answer()
        kind = (0, 0) if body is None else (2, 0) if chunked else (1, len(body))
        headers = [("host", "example.org:8000")] if headers is None else list(headers)
        first = b"" if hold else (body or b"")[:FIRST_BODY]
        ended = not hold and len(first) == len(body or b"")
        payload = request_payload(method, target, headers, body=kind, first=first, **others)
        self.socket.sendall(frame(REQUEST, id, payload, ended))
        return id

    def send_body(self, id: int, data: bytes, end: bool = False) -> None:
        self.socket.sendall(frame(BODY, id, data, end))

    def send_tray(self, id: int, data: bytes, end: bool = False) -> int:
        """Sends a piece of a body by way of the shelf; the number of its tray."""
        number = self.trays().index(0)
        self.claims[CLAIMS + number] = 1
        start = FIRST_TRAY + number * TRAY_SIZE
        self.claims[start : start + len(data)] = data
        self.socket.sendall(frame(TRAY, id, struct.pack("<HHI", number, 0, len(data)), end))
        return number

    def trays(self) -> list[int]:
        """Which trays are taken."""
        return list(self.claims[CLAIMS : CLAIMS + TRAYS])

    def cancel(self, id: int) -> None:
        self.socket.sendall(frame(CANCEL, id))

    def grant(self, id: int, count: int) -> None:
        self.socket.sendall(frame(CREDIT, id, struct.pack("<I", count)))

    def read(self) -> None:
        """Reads once, and takes the frames that are complete."""
        data, control, _, _ = self.socket.recvmsg(1 << 18, socket.CMSG_SPACE(64))
        if not data:
            raise EOFError("the worker closed the connection")
        for level, kind, rights in control:
            if (level, kind) == (socket.SOL_SOCKET, socket.SCM_RIGHTS):
                self.descriptors += array.array("i", rights[: len(rights) // 4 * 4])
        self.buffer += data
        while len(self.buffer) >= 12:
            length, kind, flags, _, id = struct.unpack_from("<IBBHI", self.buffer)
            if len(self.buffer) < 12 + length:
                break
            payload, self.buffer = self.buffer[12 : 12 + length], self.buffer[12 + length :]
            self.take(kind, bool(flags & END), id, payload)

    def take(self, kind: int, end: bool, id: int, payload: bytes) -> None:
        if kind == READY:
            self.ready = struct.unpack_from("<BH", payload)
            self.is_asgi = bool(payload[3] & IS_ASGI)
            self.takes_trays = bool(payload[3] & TAKES_TRAYS)
            return
        answer = self.answers[id]
        assert not answer.is_ended, f"a frame {NAMES[kind]} after the end"
        answer.frames.append(NAMES[kind])
        answer.is_ended = end
        if kind == RESPONSE:
            answer.status, _, length = struct.unpack_from("<HHI", payload)
            lines = payload[8 : 8 + length].decode("latin-1").split("\r\n")
            assert lines.pop() == ""
            answer.headers = [
                (name, value) for name, _, value in (x.partition(": ") for x in lines)
            ]
            answer.body += payload[8 + length :]
        elif kind == BODY_OUT:
            assert answer.status, "a body before the head"
            answer.body += payload
        elif kind == TRAY_OUT:
            assert answer.status, "a body before the head"
            number, _, length = struct.unpack("<HHI", payload)
            assert self.claims[CLAIMS + number] == 1, "a tray that nobody took"
            start = FIRST_TRAY + number * TRAY_SIZE
            answer.body += self.claims[start : start + length]
            self.claims[CLAIMS + number] = 0
        elif kind == FILE:
            offset, length = struct.unpack("<QQ", payload)
            answer.file = (self.descriptors.pop(0), offset, length)
        elif kind == CREDIT_OUT:
            (count,) = struct.unpack("<I", payload)
            answer.credit += count
        elif kind == RESET:
            assert end, "RESET without END"
            answer.reset = payload.decode()

    def wait(self, id: int, until: Any = None) -> Answer:
        """Waits until an answer has ended, or `until` of it is true."""
        answer = self.answers[id]
        while not (until(answer) if until else answer.is_ended):
            assert not answer.is_ended, f"ended before that: {answer}"
            self.read()
        return answer

    def fetch(self, *arguments: Any, body: bytes | None = None, **others: Any) -> Answer:
        """Sends a request and its whole body against credit; its answer, all of it granted."""
        id = self.send(*arguments, body=body, hold=self.shelf and bool(body), **others)
        sent = FIRST_BODY
        if self.shelf and body:
            sent = min(len(body), TRAY_SIZE)
            self.send_tray(id, body[:sent], sent == len(body))
        first = sent
        send = self.send_tray if self.shelf else self.send_body
        granted = 262_144
        answer = self.answers[id]
        while not answer.is_ended:
            self.read()
            while body is not None and sent < len(body) and sent < first + answer.credit:
                count = min(100_000, first + answer.credit - sent, len(body) - sent)
                send(id, body[sent : sent + count], sent + count == len(body))
                sent += count
            if not answer.is_ended and len(answer.body) + 131_072 > granted:
                self.grant(id, 131_072)
                granted += 131_072
        return answer


class Worker:
    """A real worker process."""

    def __init__(
        self,
        app: str | None = "app:application",
        *,
        python: str = sys.executable,
        root: Path = APPS,
        threads: int = 4,
        environment: dict[str, str] | None = None,
        **order: Any,
    ) -> None:
        self.folder = tempfile.TemporaryDirectory(prefix="pj")
        self.path = f"{self.folder.name}/web-0.sock"
        listener = socket.socket(socket.AF_UNIX)
        listener.bind(self.path)
        listener.listen(64)
        self.log = open(f"{self.folder.name}/log", "w+b")  # noqa: SIM115
        listening = listener.fileno()
        self.process = subprocess.Popen(
            [python, str(PACKAGE / "worker" / "__main__.py")],
            stdin=subprocess.PIPE,
            stdout=self.log,
            stderr=self.log,
            pass_fds=(listening,),
            env={**os.environ, **(environment or {})},
        )
        listener.close()
        told = {
            "version": "0.1.0",
            "socket": listening,
            "secret": SECRET,
            "app": app,
            "interface": "auto",
            "root": str(root),
            "threads": threads,
            "ini": None,
        }
        assert self.process.stdin
        self.process.stdin.write(json.dumps({**told, **order}).encode() + b"\n")
        self.process.stdin.flush()
        self.connections: list[Connection] = []
        self.websockets: list[Websocket] = []

    def websocket(self, target: str = "/echo", **others: Any) -> Websocket:
        websocket = Websocket(self.path, target, **others)
        self.websockets.append(websocket)
        return websocket

    def connect(self, secret: str = SECRET, *, shelf: bool = False) -> Connection:
        connection = Connection(self.path, secret, shelf=shelf)
        self.connections.append(connection)
        return connection

    def output(self) -> str:
        """What the process has printed."""
        self.log.flush()
        return Path(self.log.name).read_text()

    def lines(self) -> list[str]:
        return self.output().removesuffix("\n").split("\n")

    def wait_for_output(self, text: str) -> str:
        """Waits until the process has printed that."""
        watch = select.poll()
        for _ in range(PATIENCE * 100):
            if text in self.output():
                return self.output()
            watch.poll(10)
        raise AssertionError(f"{text!r} is not in\n{self.output()}")

    def wait(self) -> int:
        return self.process.wait(PATIENCE)

    def terminate(self) -> None:
        self.process.send_signal(signal.SIGTERM)

    def stop(self) -> None:
        for connection in self.connections:
            connection.close()
        for websocket in self.websockets:
            websocket.leave()
        assert self.process.stdin
        self.process.stdin.close()
        try:
            self.process.wait(PATIENCE)
        finally:
            self.process.kill()
            self.process.wait()
            self.log.close()
            self.folder.cleanup()

    def __enter__(self) -> Worker:
        return self

    def __exit__(self, *_: object) -> None:
        self.stop()


class Websocket:
    """A connection to a worker that asks to become a websocket; the client is `websockets`'."""

    def __init__(
        self,
        path: str,
        target: str = "/echo",
        headers: list[tuple[str, str | bytes]] | None = None,
        *,
        secret: str = SECRET,
        **others: Any,
    ) -> None:
        from websockets.protocol import Protocol, Side

        self.socket = socket.socket(socket.AF_UNIX)
        self.socket.settimeout(PATIENCE)
        self.socket.connect(path)
        request = request_payload("GET", target, headers, **others)
        opening = bytes([1, len(secret)]) + secret.encode() + request
        self.socket.sendall(frame(OPEN, 0, opening, True))
        self.protocol = Protocol(Side.CLIENT, max_size=None)
        self.events: list[Any] = []
        self.buffer = b""
        self.is_entered = False

    def answer(self) -> Answer:
        """What the worker answers the opening with."""
        while True:
            if len(self.buffer) >= 12:
                length, kind, flags, _, _ = struct.unpack_from("<IBBHI", self.buffer)
                if len(self.buffer) >= 12 + length:
                    payload, self.buffer = self.buffer[12 : 12 + length], self.buffer[12 + length :]
                    if kind == ENTERED:
                        self.is_entered = True
                        continue
                    assert (kind, flags) == (RESPONSE, END)
                    return self._answer(payload)
            data = self.socket.recv(1 << 16)
            if not data:
                raise EOFError("the worker closed the connection")
            self.buffer += data

    def _answer(self, payload: bytes) -> Answer:
        status, _, length = struct.unpack_from("<HHI", payload)
        lines = payload[8 : 8 + length].decode("latin-1").split("\r\n")
        headers = [(name, value) for name, _, value in (x.partition(": ") for x in lines if x)]
        if status == 101:
            self.protocol.receive_data(self.buffer)
            self.events += self.protocol.events_received()
            self.flush()
        return Answer(status, headers, payload[8 + length :], is_ended=True)

    def accepted(self) -> Websocket:
        """Waits until it is a websocket."""
        assert self.answer().status == 101
        return self

    def flush(self) -> None:
        for data in self.protocol.data_to_send():
            if data:
                self.socket.sendall(data)

    def send(self, message: str | bytes) -> None:
        if isinstance(message, str):
            self.protocol.send_text(message.encode())
        else:
            self.protocol.send_binary(message)
        self.flush()

    def close(self, code: int | None = None, reason: str = "") -> None:
        self.protocol.send_close(code, reason)
        self.flush()

    def leave(self) -> None:
        self.socket.close()

    def next(self) -> Any:
        """The next frame."""
        while not self.events:
            data = self.socket.recv(1 << 16)
            if data:
                self.protocol.receive_data(data)
            else:
                self.protocol.receive_eof()
            self.events += self.protocol.events_received()
            self.flush()
            if not data and not self.events:
                raise EOFError("the worker closed the connection")
        return self.events.pop(0)

    def receive(self) -> str | bytes:
        """The next message."""
        first = self.next()
        parts, event = [first.data], first
        while not event.fin:
            event = self.next()
            assert event.opcode == CONTINUATION
            parts.append(event.data)
        data = b"".join(map(bytes, parts))
        return data.decode() if first.opcode == TEXT else data

    def closed(self) -> tuple[int | None, str]:
        """Waits for the end: code and reason of the worker's close."""
        while self.protocol.close_rcvd is None:
            self.next()
        close = self.protocol.close_rcvd
        return close.code, close.reason

    def ended(self) -> None:
        """Waits until the worker has closed the connection."""
        while self.socket.recv(1 << 16):
            pass
