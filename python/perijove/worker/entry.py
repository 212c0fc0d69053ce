"""The application for servers that load a file (uWSGI, mod_wsgi), which the program writes."""

from __future__ import annotations

import importlib
import io
import os
import sys
import traceback
from collections.abc import Callable, Iterable
from typing import Any

from perijove.worker import output
from perijove.worker.behind import QUESTION, Application, behind, request_id
from perijove.worker.process import CONFIG, Order, wsgi_or_show


def application(told: str) -> Application:
    """What the server calls. Without an application to load, uWSGI ends, and mod_wsgi, which
    cannot, says so when it is asked whether it is ready."""
    order = Order.read(told.encode())
    server = _server()
    if server != "mod_wsgi":
        # Apache writes what its processes print to its own log, with a head of its own.
        output.install(request_id)
    loaded = wsgi_or_show(order)
    if loaded is not None:
        told_of_client = behind(loaded, _at_once(server))
        return _under_uwsgi(told_of_client) if server == "uwsgi" else told_of_client
    sys.stderr.flush()
    if server == "mod_wsgi":
        return _cannot
    os._exit(CONFIG)


def _server() -> str:
    return next((name for name in ("uwsgi", "mod_wsgi") if name in sys.modules), "")


def _at_once(server: str) -> int | None:
    """Requests that all processes of the server take at once."""
    told: Any = importlib.import_module(server) if server else None
    if server == "uwsgi":
        return int(told.numproc) * max(1, int(told.cores))
    if server == "mod_wsgi":
        return int(told.maximum_processes) * int(told.threads_per_process)
    return None


def _under_uwsgi(application: Application) -> Application:
    """uWSGI gives a body in the chunked coding by a call of its own, and none by `wsgi.input`."""
    uwsgi: Any = importlib.import_module("uwsgi")

    def serve(environ: dict[str, Any], start_response: Callable[..., Any]) -> Iterable[bytes]:
        if "chunked" in environ.get("HTTP_TRANSFER_ENCODING", "").lower():
            environ["wsgi.input"] = io.BufferedReader(_Chunks(uwsgi.chunked_read))
            environ["wsgi.input_terminated"] = True
        try:
            body: Iterable[bytes] = application(environ, start_response)
        except Exception:
            # uWSGI itself would end the connection without a word.
            traceback.print_exc()
            fields = [("Content-Type", "text/plain"), ("Content-Length", "22")]
            # Given the exception, it would raise that again.
            start_response("500 Internal Server Error", fields)
            return [b"Internal Server Error\n"]
        return body

    return serve


class _Chunks(io.RawIOBase):
    """A stream of what a call gives, until it gives nothing."""

    def __init__(self, read: Callable[[], bytes]) -> None:
        self._read, self._rest, self._is_over = read, b"", False

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Any) -> int:
        if not self._rest and not self._is_over:
            self._rest = self._read()
            self._is_over = not self._rest
        piece, self._rest = self._rest[: len(buffer)], self._rest[len(buffer) :]
        buffer[: len(piece)] = piece
        return len(piece)


def _cannot(environ: dict[str, Any], start_response: Callable[..., Any]) -> Iterable[bytes]:
    body = b"the application cannot be loaded\n"
    fields = [("Content-Type", "text/plain"), ("Content-Length", str(len(body)))]
    if environ.get(QUESTION) == "ready":
        fields.append(("Perijove-Failure", "application"))
    start_response("503 Service Unavailable", fields)
    return [body]
