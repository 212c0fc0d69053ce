"""What a kernel says is not lost on its way when a connection is, and the page comes back.

Jupyter keeps what comes while no page is connected. It does not know what has become of the last
words before that: they were written to a connection that nobody read any more, perhaps for a
minute, as when a laptop goes to sleep. So the page's side confirms: a ping follows what is sent,
and its pong says that everything before it has arrived. What was not confirmed is sent again to the
same page when it is back, before what Jupyter has kept.
"""

from __future__ import annotations

import contextlib
from collections import deque
from typing import Any

from jupyter_server.services.kernels.websocket import KernelWebsocketHandler
from tornado.websocket import WebSocketClosedError

# What pings and pongs carry of ours: this, and how many messages were sent before.
MARK = b"perijove "
# Bytes of messages that are kept for one page. Of what is longer, the end.
MOST = 8 << 20

Message = tuple[bytes | str | dict[str, Any], bool]


class Unconfirmed:
    """Messages on one connection of which it is not known whether they have arrived."""

    def __init__(self) -> None:
        self.messages: deque[Message] = deque()
        self.size = 0
        self.sent = 0
        self.is_asked = False

    def note(self, message: Message) -> None:
        self.messages.append(message)
        self.sent += 1
        self.size += len(message[0])
        while self.size > MOST:
            self._forget()

    def confirm(self, count: int) -> None:
        """The first so many of all that were sent have arrived."""
        self.is_asked = False
        while self.messages and self.sent - len(self.messages) < count:
            self._forget()

    def ask(self, handler: Any) -> None:
        if self.is_asked or not self.messages:
            return
        with contextlib.suppress(WebSocketClosedError):
            handler.ping(MARK + str(self.sent).encode())
            self.is_asked = True

    def _forget(self) -> None:
        self.size -= len(self.messages.popleft()[0])


# By kernel: the page that was connected last, and what it may lack. Jupyter keeps for one, too.
LEFT: dict[str, tuple[str, list[Message]]] = {}


def watch() -> None:
    """Has the websockets of kernels resend what was lost."""
    kind: Any = KernelWebsocketHandler
    write, pong, opened, closed = kind.write_message, kind.on_pong, kind.open, kind.on_close
    before_get = kind.pre_get

    def write_message(self: Any, message: Any, binary: bool = False) -> Any:
        unconfirmed = of(self)
        unconfirmed.note((message, binary))
        answer = write(self, message, binary)
        unconfirmed.ask(self)
        return answer

    def on_pong(self: Any, data: bytes) -> Any:
        if data.startswith(MARK) and data[len(MARK) :].isdigit():
            unconfirmed = of(self)
            unconfirmed.confirm(int(data[len(MARK) :]))
            unconfirmed.ask(self)
        return pong(self, data)

    async def pre_get(self: Any) -> None:
        take_place(self)
        await before_get(self)

    async def open(self: Any, kernel_id: str) -> None:
        session, messages = LEFT.pop(kernel_id, ("", []))
        if session == self.connection.session.session:
            for message, binary in messages:
                write_message(self, message, binary)
        await opened(self, kernel_id)

    def on_close(self: Any) -> None:
        keep(self)
        closed(self)

    kind.write_message, kind.on_pong, kind.pre_get = write_message, on_pong, pre_get
    kind.open, kind.on_close = open, on_close


def of(handler: Any) -> Unconfirmed:
    found: Unconfirmed | None = getattr(handler, "_perijove_unconfirmed", None)
    if found is None:
        found = handler._perijove_unconfirmed = Unconfirmed()
    return found


def keep(handler: Any) -> None:
    """Keeps what a page that has gone may lack."""
    connection = handler.connection
    kernels = connection.multi_kernel_manager
    for gone in [kernel for kernel in LEFT if kernel not in kernels]:
        del LEFT[gone]
    messages = list(of(handler).messages)
    if messages and connection.kernel_id in kernels:
        LEFT[connection.kernel_id] = (connection.session.session, messages)


def take_place(handler: Any) -> None:
    """Ends a connection of the same page that looks alive: the page knows best.

    Jupyter would do so, too, but then the old connection ends at some time after the new one began;
    what comes in between is lost, or the new one is left without its channels.
    """
    session = handler.get_argument("session_id", "")
    connections = handler.settings["kernel_websocket_connection_class"]._open_sessions
    stale = connections.get(f"{handler.kernel_id}:{session}")
    if stale is None or getattr(stale, "connection", None) is None:
        return
    stale.on_close()
    stale.on_close = lambda: None
    stale.on_message = lambda message: None
    stale.close()
