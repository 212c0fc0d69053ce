"""Shows where a request is stuck that has been inside the application for too long, and ends it.

The exception reaches Python code only: code in C that keeps the interpreter's lock is found by
`deadlock`, and code in C that waits without it is interrupted when it comes back. Bodies that are
made while they are sent are not watched.
"""

from __future__ import annotations

import ctypes
import os
import sys
import threading
import time
from collections.abc import Callable, Iterable
from typing import Any

from perijove import RequestTimeout
from perijove.worker import stacks

_STANDARD_ERROR = 2
_SHORTEST_LOOK = 0.05
_LONGEST_LOOK = 1.0

Application = Callable[[dict[str, Any], Callable[..., Any]], Iterable[bytes]]


class _Inside:
    """A request inside the application."""

    def __init__(self, request_id: str) -> None:
        self.request_id = request_id
        self.since = time.monotonic()
        self.is_shown = False
        self.is_interrupted = False


def watched(application: Application, shown: float, interrupted: float) -> Application:
    """The application, with requests watched: after so many seconds its stack is shown, and
    `RequestTimeout` raised in its thread; 0 is never.
    """
    if shown <= 0 and interrupted <= 0:
        return application
    inside: dict[int, _Inside] = {}
    lock = threading.Lock()

    def call(environ: dict[str, Any], start_response: Callable[..., Any]) -> Iterable[bytes]:
        thread = threading.get_ident()
        mine = _Inside(environ.get("perijove.request_id", ""))
        with lock:
            inside[thread] = mine
        try:
            return application(environ, start_response)
        except RequestTimeout:
            start_response("504 Gateway Timeout", [("Content-Type", "text/plain")], sys.exc_info())
            return [b"the request took too long\n"]
        finally:
            with lock:
                inside.pop(thread, None)
                if mine.is_interrupted:
                    # What has not been raised yet is not the next request's.
                    _raise_in(thread, None)

    between = pause(min(limit for limit in (shown, interrupted) if limit > 0))

    def watch() -> None:
        while True:
            time.sleep(between)
            with lock:
                for thread, request in inside.items():
                    _look(thread, request, shown, interrupted)

    threading.Thread(target=watch, name="perijove-stuck", daemon=True).start()
    return call


def pause(limit: float) -> float:
    """Seconds between two looks, so that this limit is kept about right."""
    return max(_SHORTEST_LOOK, min(_LONGEST_LOOK, limit / 4))


def where(age: float) -> str:
    return f"a request has been inside the application for {age:.1f} seconds; it is here:"


def show(request_id: str, what: str, stack: list[str]) -> None:
    """Writes to the log. Each line says whose it is, as those do that the request itself writes."""
    text = "".join(f"\x1e{request_id}\x1f{line}\n" for line in [what, *stack])
    os.write(_STANDARD_ERROR, text.encode("utf-8", "backslashreplace"))


def _look(thread: int, request: _Inside, shown: float, interrupted: float) -> None:
    age = time.monotonic() - request.since
    ends = 0 < interrupted <= age and not request.is_interrupted
    if not request.is_shown and (ends or 0 < shown <= age):
        request.is_shown = True
        frame = sys._current_frames().get(thread)
        show(request.request_id, where(age), stacks.of_thread(frame))
    if ends:
        request.is_interrupted = True
        _raise_in(thread, RequestTimeout)


def _raise_in(thread: int, kind: type[BaseException] | None) -> None:
    raised = None if kind is None else ctypes.py_object(kind)
    ctypes.pythonapi.PyThreadState_SetAsyncExc(ctypes.c_ulong(thread), raised)
