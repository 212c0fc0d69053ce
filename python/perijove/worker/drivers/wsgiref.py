"""The standard library's WSGI server, brought to HTTP/1.1: one request at a time."""

from __future__ import annotations

import contextlib
import io
import os
import select
import signal
import socket
import sys
from http.server import BaseHTTPRequestHandler
from types import FrameType
from typing import Any
from urllib.parse import unquote_to_bytes
from wsgiref.handlers import SimpleHandler

from perijove.worker.behind import Application, behind
from perijove.worker.process import CONFIG, Order, wsgi_or_show

#: Seconds for a request's head to arrive. Bodies have the gateway's limits.
_HEAD_TIME = 30
#: Bytes of a line of the chunked coding.
_LONGEST_LINE = 1024
#: Bytes of an unread body that are taken in, for the gateway to have sent all of it.
_MOST_UNREAD = 1 << 20


def run(order: Order) -> int:
    application = wsgi_or_show(order)
    if application is None:
        return CONFIG
    listener = socket.socket(fileno=order.socket)
    listener.setblocking(False)
    woken, wake = os.pipe()
    os.set_blocking(wake, False)
    signal.set_wakeup_fd(wake, warn_on_full_buffer=False)
    is_ending = False

    def terminate(_number: int, _frame: FrameType | None) -> None:
        nonlocal is_ending
        is_ending = True

    signal.signal(signal.SIGTERM, terminate)
    # Ctrl-C reaches the whole foreground; the program ends its workers itself.
    signal.signal(signal.SIGINT, lambda *_: None)
    serve = behind(application, at_once=1)
    while not is_ending:
        select.select([order.socket, woken], [], [])
        try:
            connection, _ = listener.accept()
        except OSError:
            # A signal came, or whoever called has gone again.
            continue
        with connection:
            _answer(connection, serve)
    return 0


def _answer(connection: socket.socket, application: Application) -> None:
    connection.setblocking(True)
    connection.settimeout(_HEAD_TIME)
    # The client may be gone: nobody is left to tell.
    with contextlib.suppress(OSError):
        _Connection(connection, application)


class _Connection(BaseHTTPRequestHandler):
    """One connection, and the one request on it."""

    protocol_version = "HTTP/1.1"
    wbufsize = 1 << 16

    def __init__(self, connection: socket.socket, application: Application) -> None:
        self.application = application
        super().__init__(connection, ("", 0), None)  # type: ignore[arg-type]

    def handle(self) -> None:
        self.close_connection = True
        self.raw_requestline = self.rfile.readline(1 << 17)
        if not self.raw_requestline or not self.parse_request():
            return
        self.connection.settimeout(None)
        body = _body(self.rfile, self.headers)
        handler = _Handler(body, self.wfile, self._environ())
        handler.run(self.application)
        if not handler.is_broken:
            body.read(_MOST_UNREAD)

    def handle_expect_100(self) -> bool:
        # Said when the application reads the body would be better; said early is allowed.
        self.wfile.write(b"HTTP/1.1 100 Continue\r\n\r\n")
        self.wfile.flush()
        return True

    def log_message(self, format: str, *arguments: Any) -> None:
        """The gateway has the access log."""

    def _environ(self) -> dict[str, Any]:
        path, _, query = self.path.partition("?")
        environ = {
            "REQUEST_METHOD": self.command,
            "SCRIPT_NAME": "",
            "PATH_INFO": unquote_to_bytes(path).decode("latin-1"),
            "QUERY_STRING": query,
            "REQUEST_URI": self.path,
            "RAW_URI": self.path,
            "SERVER_PROTOCOL": self.request_version,
            "SERVER_NAME": "localhost",
            "SERVER_PORT": "80",
            "REMOTE_ADDR": "",
            "GATEWAY_INTERFACE": "CGI/1.1",
            "wsgi.input_terminated": True,
        }
        for name, value in self.headers.items():
            key = name.upper().replace("-", "_")
            if key not in ("CONTENT_TYPE", "CONTENT_LENGTH"):
                key = f"HTTP_{key}"
                if key in environ:
                    value = f"{environ[key]}{'; ' if key == 'HTTP_COOKIE' else ','}{value}"
            environ[key] = value
        return environ


class _Handler(SimpleHandler):
    """PEP 3333 as wsgiref does it, with the framing of HTTP/1.1."""

    http_version = "1.1"
    # The environment of the process is no business of a request.
    os_environ: dict[str, str] = {}  # noqa: RUF012
    headers: Any
    headers_sent: bool
    environ: dict[str, Any]
    status: str | None
    server_software = f"wsgiref/{sys.version_info[0]}.{sys.version_info[1]}"

    def __init__(self, body: Any, out: Any, environ: dict[str, Any]) -> None:
        super().__init__(body, out, sys.stderr, environ, multithread=False, multiprocess=True)
        self.is_broken = False
        self._is_chunked = False

    def run(self, application: Application) -> None:
        super().run(application)
        if not self.is_broken:
            self._flush()

    def write(self, data: bytes) -> None:
        if not data:
            return
        if not self.headers_sent:
            self.bytes_sent = len(data)
            self.send_headers()
        if self._has_body():
            self._write(b"%x\r\n%b\r\n" % (len(data), data) if self._is_chunked else data)
            self._flush()

    def cleanup_headers(self) -> None:
        if self._has_body():
            super().cleanup_headers()
            if "Content-Length" not in self.headers:
                self._is_chunked = True
                self.headers["Transfer-Encoding"] = "chunked"
        self.headers["Connection"] = "close"

    def finish_content(self) -> None:
        if not self.headers_sent:
            if self._has_body():
                self.headers.setdefault("Content-Length", "0")
            self.send_headers()
        if self._is_chunked:
            self._write(b"0\r\n\r\n")

    def _has_body(self) -> bool:
        status = (self.status or "")[:3]
        is_bare = status in ("204", "304") or status.startswith("1")
        return not is_bare and self.environ.get("REQUEST_METHOD") != "HEAD"

    def handle_error(self) -> None:
        if isinstance(sys.exc_info()[1], (BrokenPipeError, ConnectionResetError)):
            self.is_broken = True
            return
        if self.headers_sent:
            # The end of the connection without the end of the body says that it is not whole.
            self.is_broken = True
            self.log_exception(sys.exc_info())
        else:
            super().handle_error()


def _body(stream: Any, headers: Any) -> io.BufferedReader:
    if "chunked" in headers.get("Transfer-Encoding", "").lower():
        return io.BufferedReader(_Chunked(stream))
    try:
        length = int(headers.get("Content-Length") or 0)
    except ValueError:
        length = 0
    return io.BufferedReader(_Sized(stream, length))


class _Sized(io.RawIOBase):
    """So many bytes of a connection."""

    def __init__(self, stream: Any, length: int) -> None:
        self._stream, self._left = stream, length

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Any) -> int:
        most = min(len(buffer), self._left)
        if most == 0:
            return 0
        data = self._stream.read1(most)
        if not data:
            raise ConnectionResetError("the request's body is not whole")
        buffer[: len(data)] = data
        self._left -= len(data)
        return len(data)


class _Chunked(io.RawIOBase):
    """A body in the chunked coding (RFC 9112 7.1)."""

    def __init__(self, stream: Any) -> None:
        self._stream, self._left, self._is_over = stream, 0, False

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Any) -> int:
        if self._left == 0 and not self._is_over:
            self._begin()
        if self._is_over:
            return 0
        data = self._stream.read1(min(len(buffer), self._left))
        if not data:
            raise ConnectionResetError("the request's body is not whole")
        buffer[: len(data)] = data
        self._left -= len(data)
        if self._left == 0:
            self._line()
        return len(data)

    def _begin(self) -> None:
        size = self._line().split(b";")[0].strip()
        try:
            self._left = int(size, 16)
        except ValueError:
            raise ConnectionResetError("the request's body is malformed") from None
        if self._left == 0:
            self._is_over = True
            while self._line():
                pass

    def _line(self) -> bytes:
        line: bytes = self._stream.readline(_LONGEST_LINE)
        if not line.endswith(b"\n"):
            raise ConnectionResetError("the request's body is not whole")
        return line.rstrip(b"\r\n")
