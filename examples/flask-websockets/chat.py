"""A chat room with Tornado: what one says, all who are connected hear."""

from __future__ import annotations

import asyncio
import os
import signal

from tornado.httpserver import HTTPServer
from tornado.netutil import bind_unix_socket
from tornado.web import Application
from tornado.websocket import WebSocketHandler

people: set[Room] = set()


class Room(WebSocketHandler):
    def open(self) -> None:
        people.add(self)

    def on_message(self, message: str | bytes) -> None:
        for person in people:
            person.write_message(message, binary=isinstance(message, bytes))

    def on_close(self) -> None:
        people.discard(self)


async def main() -> None:
    server = HTTPServer(Application([(r"/chat/", Room)]))
    server.add_socket(bind_unix_socket(os.environ["SOCKET"]))
    stopped = asyncio.Event()
    asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, stopped.set)
    await stopped.wait()
    for person in list(people):
        person.close(1001, "the chat is being replaced")
    await server.close_all_connections()


if __name__ == "__main__":
    asyncio.run(main())
