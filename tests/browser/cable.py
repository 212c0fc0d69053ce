"""A line between a client and a server that can go dead without a word, as when a laptop sleeps."""

from __future__ import annotations

import contextlib
import select
import socket
import threading
from collections.abc import Iterator
from contextlib import contextmanager


class Cable:
    """Carries one connection after another until it is cut; nobody is told of that."""

    def __init__(self, to: str) -> None:
        host, port = to.rsplit(":", 1)
        self.to = (host, int(port))
        self.listener = socket.create_server(("127.0.0.1", 0))
        self.address = f"127.0.0.1:{self.listener.getsockname()[1]}"
        self.is_cut = threading.Event()
        self.sockets: list[socket.socket] = [self.listener]
        self.threads = [threading.Thread(target=self._accept, daemon=True)]
        self.threads[0].start()

    def cut(self) -> None:
        """From now on nothing is carried; the connections stay, as far as each end knows."""
        self.is_cut.set()

    def _accept(self) -> None:
        with contextlib.suppress(OSError):
            while True:
                client, _ = self.listener.accept()
                server = socket.create_connection(self.to)
                self.sockets += [client, server]
                thread = threading.Thread(target=self._carry, args=(client, server), daemon=True)
                self.threads.append(thread)
                thread.start()

    def _carry(self, client: socket.socket, server: socket.socket) -> None:
        other = {client: server, server: client}
        with contextlib.suppress(OSError, ValueError):
            while not self.is_cut.is_set():
                for end in select.select(list(other), [], [], 0.05)[0]:
                    if self.is_cut.is_set():
                        return
                    piece = end.recv(65536)
                    if not piece:
                        other[end].shutdown(socket.SHUT_WR)
                        return
                    other[end].sendall(piece)


@contextmanager
def cable(to: str) -> Iterator[Cable]:
    """A cable for a while; both ends are closed in the end."""
    made = Cable(to)
    try:
        yield made
    finally:
        made.cut()
        with contextlib.suppress(OSError):
            made.listener.shutdown(socket.SHUT_RDWR)
        for thread in made.threads:
            thread.join(10)
        for each in made.sockets:
            each.close()
