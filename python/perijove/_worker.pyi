"""The native part of a worker, written in Rust (`crates/perijove-worker`)."""

from asyncio import AbstractEventLoop, Future
from collections.abc import Awaitable, Callable, Coroutine
from typing import Any, Protocol

class _Readable(Protocol):
    def read(self, size: int, /) -> bytes: ...

class Worker:
    """Serves a WSGI application to the gateway."""

    def __new__(
        cls,
        *,
        socket: int,
        secret: str,
        threads: int,
        application: Callable[..., Any],
        report: Callable[[BaseException], object],
    ) -> Worker:
        """Takes over the listening Unix socket `socket`. `sys.stderr` becomes `wsgi.errors`."""

    def run(self, seat: int, /) -> None:
        """Serves requests as the thread of that seat (from 0), until the worker is drained."""

    def drain(self) -> None:
        """Finishes what has come, then lets all threads end."""

class AsgiWorker:
    """Serves an ASGI application to the gateway, on an event loop of asyncio."""

    def __new__(
        cls,
        *,
        socket: int,
        secret: str,
        application: Callable[..., Awaitable[None]],
        event_loop: AbstractEventLoop,
        run: Callable[..., Coroutine[Any, Any, None]],
        spawn: Callable[[Coroutine[Any, Any, None]], object],
        report: Callable[[BaseException], object],
        state: dict[str, Any] | None,
        capacity: int,
        message_limit: int,
    ) -> AsgiWorker:
        """Takes over the listening Unix socket `socket`.

        `run(application, scope, exchange)` makes the coroutine of one request, `spawn` begins it,
        `report` shows an exception. Each scope gets a copy of `state`, unless that is `None`.
        """

    def listen(self) -> None:
        """Begins to accept connections."""

    def drain(self, idle: Future[None], /) -> None:
        """Accepts nothing more and ends the websockets.

        `idle` is done once nothing is under way.
        """

    def flush(self) -> bool:
        """Sends what is left, as far as the gateway takes it; true when all was sent."""

class FileWrapper:
    """`wsgi.file_wrapper`: wraps a file-like object; iterating reads it in blocks."""

    def __new__(cls, filelike: _Readable, blksize: int = 8192, /) -> FileWrapper: ...
    def __iter__(self) -> FileWrapper: ...
    def __next__(self) -> bytes: ...
    def close(self) -> None: ...

def request_id() -> str:
    """The id of the request that the calling thread or task works on; empty outside of requests."""

def confine(confinement: str, /) -> None:
    """Takes an account, limits and a sandbox upon this process, for good.

    `confinement` is JSON, each part optional: `{"account": {"uid", "gid", "groups"}, "limits":
    {...}, "sandbox": {"read": [...], "change": [...], "unlisted": [...], "write": [...]}}`.
    The process must have one thread. Whatever is raised, it must end: part of it may be taken.
    """
