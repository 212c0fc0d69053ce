"""Standard output and standard error, line by line, each with the id of its request."""

from __future__ import annotations

import io
import os
import sys
import threading
from collections.abc import Callable, Iterable
from typing import BinaryIO


class Lines(io.TextIOBase):
    """A text stream that writes whole lines only; lines of different threads never mix.

    A line that belongs to a request begins with U+001E, its id and U+001F, which the program takes
    off again.
    """

    def __init__(self, raw: BinaryIO, name: str, request_id: Callable[[], str]) -> None:
        self._raw = raw
        self._request_id = request_id
        self._descriptor = raw.fileno()
        self._begun = threading.local()
        self._lock = threading.Lock()
        self.name = name
        self.mode = "w"
        os.register_at_fork(after_in_child=self._forked)

    def _forked(self) -> None:
        self._lock = threading.Lock()

    @property
    def encoding(self) -> str:  # type: ignore[override]
        return "utf-8"

    @property
    def errors(self) -> str:  # type: ignore[override]
        return "backslashreplace"

    @property
    def buffer(self) -> BinaryIO:
        return self._raw

    @property
    def line_buffering(self) -> bool:
        return True

    def fileno(self) -> int:
        return self._descriptor

    def isatty(self) -> bool:
        return False

    def writable(self) -> bool:
        return True

    def write(self, text: str, /) -> int:
        if not isinstance(text, str):
            raise TypeError(f"write() takes a str, not {type(text).__name__}")
        begun = getattr(self._begun, "text", "")
        whole, newline, rest = (begun + text).rpartition("\n")
        self._begun.text = rest
        if newline:
            self._send(whole)
        return len(text)

    def writelines(self, lines: Iterable[str], /) -> None:  # type: ignore[override]
        self.write("".join(lines))

    def flush(self) -> None:
        """Ends the line that this thread has begun, if any."""
        begun = getattr(self._begun, "text", "")
        if begun:
            self._begun.text = ""
            self._send(begun)

    def _send(self, text: str) -> None:
        identity = self._request_id()
        mark = f"\x1e{identity}\x1f" if identity else ""
        lines = mark + text.replace("\n", f"\n{mark}") + "\n"
        data = memoryview(lines.encode("utf-8", "backslashreplace"))
        with self._lock:
            while data:
                data = data[os.write(self._descriptor, data) :]


def install(request_id: Callable[[], str]) -> None:
    """Puts such streams in place of `sys.stdout` and `sys.stderr`.

    `request_id` is the id of the request that the calling thread is in, or nothing.
    """
    sys.stdout.flush()
    sys.stderr.flush()
    sys.stdout = Lines(sys.stdout.buffer, "<stdout>", request_id)
    sys.stderr = Lines(sys.stderr.buffer, "<stderr>", request_id)
