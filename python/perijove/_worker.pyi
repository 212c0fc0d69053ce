"""The native part of a worker, written in Rust (`crates/perijove-worker`)."""

from collections.abc import Callable
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

class FileWrapper:
    """`wsgi.file_wrapper`: wraps a file-like object; iterating reads it in blocks."""

    def __new__(cls, filelike: _Readable, blksize: int = 8192, /) -> FileWrapper: ...
    def __iter__(self) -> FileWrapper: ...
    def __next__(self) -> bytes: ...
    def close(self) -> None: ...

def request_id() -> str:
    """The id of the request that the calling thread works on; empty outside of requests."""
