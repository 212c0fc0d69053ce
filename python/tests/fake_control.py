"""A stand-in for perijove's control socket, over a real Unix socket; where the packages lie."""

from __future__ import annotations

import json
import os
import socketserver
import threading
from collections.abc import Callable
from http.server import BaseHTTPRequestHandler
from pathlib import Path
from typing import Any

PYTHON = Path(__file__).resolve().parents[1]

#: Where the packages under test lie: installed, as `make test` says, or else in the tree.
PACKAGES = [
    str(Path(os.environ.get("PERIJOVE_PACKAGE") or PYTHON / "perijove").parent),
    str(PYTHON / "pyramid_notebook"),
]

SECRET = "00ff" * 8


class FakeControl:
    """Answers what a test tells it to, and keeps what it was asked."""

    def __init__(self, folder: Path) -> None:
        self.path = str(folder / "control.sock")
        self.requests: list[tuple[str, str, Any]] = []
        self.answer: Callable[[str, str, Any], tuple[int, Any]] = launched
        Path(f"{self.path}.secret").write_text(f"{SECRET}\n")
        os.chmod(f"{self.path}.secret", 0o600)
        self.server = _Server(self.path, _Handler)
        self.server.control = self
        self.thread = threading.Thread(target=self.server.serve_forever, args=(0.01,))
        self.thread.start()

    @property
    def last(self) -> tuple[str, str, Any]:
        return self.requests[-1]

    def close(self) -> None:
        self.server.shutdown()
        self.server.server_close()
        self.thread.join()


def launched(method: str, path: str, _body: Any) -> tuple[int, Any]:
    """Every launch succeeds, every stop finds something, nothing is listed."""
    if method == "POST":
        user = path.split("/")[2]
        return 202, {
            "url": f"/notebook/{user}/lab/tree/default-1a2b3c4d.ipynb",
            "state": "starting",
            "created": True,
            "of-a-newer-version": 1,
        }
    return (200, {}) if method == "DELETE" else (200, [])


class _Server(socketserver.ThreadingMixIn, socketserver.UnixStreamServer):
    daemon_threads = True
    control: FakeControl


class _Handler(BaseHTTPRequestHandler):
    server: _Server

    def _serve(self) -> None:
        text = self.rfile.read(int(self.headers.get("Content-Length", 0)))
        body = json.loads(text) if text else None
        control = self.server.control
        if self.headers.get("Authorization") != f"Bearer {SECRET}":
            status, answer = 401, {"error": "wrong secret", "hint": "read the file"}
        else:
            control.requests.append((self.command, self.path, body))
            status, answer = control.answer(self.command, self.path, body)
        data = answer if isinstance(answer, bytes) else json.dumps(answer).encode()
        self.send_response(status)
        self.send_header("Content-Length", str(len(data)))
        self.end_headers()
        self.wfile.write(data)

    do_GET = do_POST = do_DELETE = _serve

    def address_string(self) -> str:
        return "unix"

    def log_message(self, *_: Any) -> None:
        pass
