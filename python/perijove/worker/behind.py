"""What an application sees behind the gateway, under whichever WSGI server: what its client used.

The server's socket is one that only the gateway reaches, and the gateway lets no client say what it
says itself. So its word is taken for scheme, host and address; what the server made of its own end
of the connection is of no use to anybody.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from contextvars import ContextVar
from typing import Any

Application = Callable[..., Any]

QUESTION = "HTTP_PERIJOVE_QUESTION"

_request: ContextVar[str] = ContextVar("perijove_request", default="")


def request_id() -> str:
    """The id of the request that this thread, greenlet or task is in; empty outside of one."""
    return _request.get()


def enter(identity: str) -> None:
    """What is printed from here on belongs to this request; to none, when it is empty."""
    _request.set(identity)


def behind(application: Application, at_once: int | None = None) -> Application:
    """The application as its server calls it. `at_once`: how many requests the server takes."""

    def serve(environ: dict[str, Any], start_response: Callable[..., Any]) -> Iterable[bytes]:
        if environ.get(QUESTION) == "ready":
            return _ready(at_once, start_response)
        tell(environ)
        identity = environ.get("perijove.request_id", "")
        enter(identity)
        try:
            body = application(environ, start_response)
        finally:
            enter("")
        return _Told(body, identity) if identity and _is_made_late(body) else body

    return serve


def tell(environ: dict[str, Any]) -> None:
    """Puts what the gateway says of the client in place of what the server saw."""
    take = environ.get
    scheme = take("HTTP_X_FORWARDED_PROTO")
    if scheme is None:
        # It did not come through the gateway: a question of its own.
        return
    environ["wsgi.url_scheme"] = scheme
    if scheme == "https":
        environ["HTTPS"] = "on"
    else:
        environ.pop("HTTPS", None)
    environ["REMOTE_ADDR"] = take("HTTP_X_FORWARDED_FOR", "")
    # That of the gateway's own connection, if any: the client's is not told.
    environ.pop("REMOTE_PORT", None)
    host = take("HTTP_X_FORWARDED_HOST")
    if host:
        environ["HTTP_HOST"] = host
        name, colon, port = host.rpartition(":")
        is_port = colon and port.isdigit()
        environ["SERVER_NAME"] = (name if is_port else host) or "localhost"
    environ["SERVER_PORT"] = take("HTTP_X_FORWARDED_PORT") or ("443" if scheme == "https" else "80")
    environ["perijove.request_id"] = take("HTTP_X_REQUEST_ID", "")


class Counted:
    """An application, and how many of its requests are under way."""

    def __init__(self, application: Application) -> None:
        self._application = application
        self.under_way = 0

    def serve(self, environ: dict[str, Any], start_response: Callable[..., Any]) -> Iterable[bytes]:
        self.under_way += 1
        try:
            body = self._application(environ, start_response)
            try:
                yield from body
            finally:
                getattr(body, "close", lambda: None)()
        finally:
            self.under_way -= 1


def _ready(at_once: int | None, start_response: Callable[..., Any]) -> list[bytes]:
    """The answer to the program's own question: the application is loaded."""
    fields = [("Content-Type", "text/plain"), ("Content-Length", "6")]
    if at_once is not None:
        fields.append(("Perijove-Capacity", str(at_once)))
    start_response("200 OK", fields)
    return [b"ready\n"]


def _is_made_late(body: Any) -> bool:
    """Whether it is made while it is read: what is printed then belongs to its request.

    Files, and what a server wraps them in, have a meaning to the server: they stay what they are.
    """
    return hasattr(body, "__next__") and not hasattr(body, "read") and not hasattr(body, "filelike")


class _Told:
    """A body made piece by piece, with its request's id while it is."""

    def __init__(self, body: Any, identity: str) -> None:
        self._body, self._identity = body, identity

    def __iter__(self) -> Iterator[bytes]:
        return self

    def __next__(self) -> bytes:
        enter(self._identity)
        try:
            piece: bytes = next(self._body)
            return piece
        finally:
            enter("")

    def close(self) -> None:
        close = getattr(self._body, "close", None)
        if close is None:
            return
        enter(self._identity)
        try:
            close()
        finally:
            enter("")
