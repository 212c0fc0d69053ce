"""What an ASGI application sees behind the gateway, under another server: what its client used."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Any

from perijove.worker.behind import enter

Scope = dict[str, Any]
Receive = Callable[[], Awaitable[dict[str, Any]]]
Send = Callable[[dict[str, Any]], Awaitable[None]]
Application = Callable[[Scope, Receive, Send], Awaitable[None]]


def behind(application: Application) -> Application:
    """The application (ASGI 3) as its server calls it."""

    async def serve(scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "lifespan":
            return await application(scope, receive, send)
        said = dict(scope["headers"])
        if said.get(b"perijove-question") == b"ready":
            return await _ready(send)
        tell(scope, said)
        # Each request is a task, or at least has a turn of its own: nothing is to be taken back.
        enter(said.get(b"x-request-id", b"").decode("latin-1"))
        return await application(scope, receive, send)

    return serve


def tell(scope: Scope, said: dict[bytes, bytes]) -> None:
    """Puts what the gateway says of the client in place of what the server saw."""
    scheme = said.get(b"x-forwarded-proto")
    if scheme is None:
        # It did not come through the gateway: a question of its own.
        return
    is_secure = scheme == b"https"
    if scope["type"] == "websocket":
        scope["scheme"] = "wss" if is_secure else "ws"
    else:
        scope["scheme"] = scheme.decode("latin-1")
    address = said.get(b"x-forwarded-for")
    # The client's port is not told.
    scope["client"] = (address.decode("latin-1"), 0) if address else None
    host = said.get(b"x-forwarded-host")
    if host:
        others = [(name, value) for name, value in scope["headers"] if name != b"host"]
        scope["headers"] = [(b"host", host), *others]
        name, colon, port = host.decode("latin-1").rpartition(":")
        name = name if colon and port.isdigit() else host.decode("latin-1")
        at = said.get(b"x-forwarded-port") or (b"443" if is_secure else b"80")
        scope["server"] = (name, int(at))


async def _ready(send: Send) -> None:
    """The answer to the program's own question: the application is loaded."""
    fields = [(b"content-type", b"text/plain"), (b"content-length", b"6")]
    await send({"type": "http.response.start", "status": 200, "headers": fields})
    await send({"type": "http.response.body", "body": b"ready\n"})
