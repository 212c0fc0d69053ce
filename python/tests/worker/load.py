"""How much CPU a worker spends on a request: `python load.py [hello|asgi|large|upload]...`.

Requests are pipelined as the gateway does, so many at once, on one connection; what the worker
spends is read from the kernel. A benchmark: it gates nothing.
"""

from __future__ import annotations

import os
import struct
import sys
import time
from collections.abc import Callable
from pathlib import Path

from frames import BODY, CREDIT, END, FIRST_BODY, REQUEST, Connection, Worker, frame
from frames import request_payload as payload

PYTHON = os.environ.get("LOAD_PYTHON", sys.executable)
AT_ONCE = int(os.environ.get("LOAD_AT_ONCE", "32"))
SECONDS = float(os.environ.get("LOAD_SECONDS", "2"))
HEADERS: list[tuple[str, str | bytes]] = [
    ("host", "127.0.0.1:8000"),
    ("user-agent", "wrk/4.1.0"),
    ("accept", "*/*"),
    ("x-forwarded-for", "127.0.0.1"),
]


def cpu(pid: int) -> float:
    """Microseconds of CPU that all threads of a process have used."""
    tasks = Path(f"/proc/{pid}/task").glob("*/schedstat")
    return sum(int(task.read_text().split()[0]) for task in tasks) / 1000


class Rounds:
    """Sends rounds of requests and takes their answers."""

    def __init__(self, connection: Connection, requests: bytes) -> None:
        self.connection = connection
        self.requests = requests

    def run(self) -> None:
        """One round: all requests, then all their answers."""
        self.connection.claims[:AT_ONCE] = bytes(AT_ONCE)
        self.connection.socket.sendall(self.requests)
        ended, buffer = 0, b""
        while ended < AT_ONCE:
            buffer += self.connection.socket.recv(1 << 20)
            at = 0
            while at + 12 <= len(buffer):
                length, kind, flags, id = struct.unpack_from("<IBBxxI", buffer, at)
                if at + 12 + length > len(buffer):
                    break
                at += 12 + length
                ended += flags & END
                if kind == 20:
                    self.more(id)
            buffer = buffer[at:]

    def more(self, id: int) -> None:
        """Sends the rest of an upload."""
        self.connection.socket.sendall(frame(BODY, id, b"x" * (102_400 - FIRST_BODY), True))


def requests_of(path: str, upload: bool = False) -> bytes:
    body = (1, 102_400) if upload else (0, 0)
    first = b"x" * FIRST_BODY if upload else b""
    method = "POST" if upload else "GET"
    data = payload(method, path, HEADERS, body=body, first=first, request_id="0123456789abcdef")
    return b"".join(frame(REQUEST, id, data, not upload) for id in range(AT_ONCE))


CASES: dict[str, tuple[str, Callable[[], bytes]]] = {
    "hello": ("hello", lambda: requests_of("/")),
    "asgi": ("asgi_views", lambda: requests_of("/unread")),
    "generator": ("answers", lambda: requests_of("/generator")),
    "large": ("answers", lambda: requests_of("/large?102400")),
    "upload": ("bodies", lambda: requests_of("/all-unhashed", upload=True)),
}


def measure(name: str) -> None:
    app, make = CASES[name]
    with Worker(f"{app}:application", python=PYTHON) as worker:
        connection = worker.connect()
        connection.wait_ready()
        rounds = Rounds(connection, make())
        for _ in range(100):
            rounds.run()
        before, start, count = cpu(worker.process.pid), time.monotonic(), 0
        while time.monotonic() - start < SECONDS:
            rounds.run()
            count += AT_ONCE
        used, taken = cpu(worker.process.pid) - before, time.monotonic() - start
        print(
            f"{name:10} {used / count:7.2f} us of CPU a request,"
            f" {count / taken:8.0f} requests a second, {AT_ONCE} at once"
        )


if __name__ == "__main__":
    assert CREDIT == 4
    for chosen in sys.argv[1:] or CASES:
        measure(chosen)
