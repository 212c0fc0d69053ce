"""The life of a worker process: told what to do, load, serve, drain, end."""

from __future__ import annotations

import gc
import importlib
import json
import os
import select
import signal
import sys
import threading
import traceback
from collections.abc import Callable
from dataclasses import dataclass, field, fields
from types import FrameType
from typing import Any

import perijove
from perijove.worker import asgi, behind, deadlock, output, program, stuck, title
from perijove.worker.load import LoadError, load, show_import_failure

CONFIG = 78
"""The exit status for what only a person can put right."""

_STANDARD_INPUT = 0
_ENDED = b"\0"


@dataclass(frozen=True)
class Order:
    """What the program asks of this process: one line of JSON on standard input."""

    version: str
    socket: int
    root: str
    secret: str = field(default="", repr=False)
    app: str | None = None
    interface: str = "wsgi"
    threads: int = 4
    ini: str | None = None
    workers: int = 1
    arguments: tuple[str, ...] = ()
    deadlock_time: float = 0
    request_time: float = 0
    """Seconds inside the application after which the stack of a request is shown; 0 is never."""
    interrupt_time: float = 0
    """Seconds after which it is interrupted."""
    name: str = ""
    """Of the application, for the names of processes."""
    worker: int = 0
    """Which one of its workers this is, from 1 on; 0 where the server names its processes."""
    concurrency: int = 1000
    """Requests and websockets of an ASGI application at once."""
    websocket_message: int = 16 << 20
    """Bytes of a websocket's message."""

    @classmethod
    def read(cls, line: bytes) -> Order:
        told = json.loads(line)
        known = {field.name for field in fields(cls)}
        return cls(**{name: value for name, value in told.items() if name in known})


def run(server: str | None = None) -> int:
    """Runs the worker, or a server of that name; the exit status."""
    order = Order.read(_first_line(_STANDARD_INPUT))
    if order.worker:
        title.show(order.name, order.worker)
    pipe = _keep_from_the_application(order)
    if server is not None:
        output.install(behind.request_id)
        driver = importlib.import_module(f"perijove.worker.drivers.{server}")
        status: int = driver.run(order)
        return status
    from perijove._worker import request_id

    output.install(request_id)
    application = load_or_show(order)
    if application is None:
        return CONFIG
    # What was imported stays: the collector need not look at it again and again.
    gc.collect()
    gc.freeze()
    if asgi.is_served(order.interface, application):
        return asgi.serve(order, application, pipe, report)
    return _serve(order, application, pipe)


def load_or_show(order: Order) -> Callable[..., Any] | None:
    """The application; when it cannot be loaded, why is shown."""
    try:
        application = _application(order)
        asgi.refuse_asgi_2(order.interface, application)
        return application
    except LoadError as error:
        sys.stderr.write(f"error: {error}\n")
    except BaseException as error:
        show_import_failure(error)
    return None


def wsgi_or_show(order: Order) -> Callable[..., Any] | None:
    """The application for a server that speaks WSGI alone; else why there is none is shown."""
    application = load_or_show(order)
    if application is None or not asgi.is_served(order.interface, application):
        return application
    sys.stderr.write(
        "error: this is an application of ASGI, and its server speaks WSGI alone\n"
        "hint: write `native` or `uvicorn` in `site.server`\n"
    )
    return None


def _first_line(pipe: int) -> bytes:
    """Reads one line and not a byte more: the rest of the pipe only tells that it ended."""
    line = bytearray()
    while not line.endswith(b"\n"):
        byte = os.read(pipe, 1)
        if not byte:
            os._exit(program.NOW)
        line += byte
    return bytes(line)


def _keep_from_the_application(order: Order) -> int:
    """Moves the program's pipe out of the way of whoever reads standard input.

    Neither the pipe nor the socket reaches programs that the application starts.
    """
    pipe = os.dup(_STANDARD_INPUT)
    nothing = os.open(os.devnull, os.O_RDONLY)
    os.dup2(nothing, _STANDARD_INPUT)
    os.close(nothing)
    os.set_inheritable(order.socket, False)
    return pipe


def _application(order: Order) -> Callable[..., Any]:
    if order.version != perijove.__version__:
        raise LoadError(
            f"the command is perijove {order.version}, its Python package is"
            f" {perijove.__version__}",
            "install both from one wheel",
        )
    if order.interface not in ("auto", "wsgi", "asgi"):
        raise LoadError(f"there is no interface {order.interface!r}", "auto, wsgi or asgi")
    return load(order.app, order.ini, order.root)


def _serve(order: Order, application: Callable[..., Any], pipe: int) -> int:
    from perijove import _worker

    application = stuck.watched(application, order.request_time, order.interrupt_time)
    worker = _worker.Worker(
        socket=order.socket,
        secret=order.secret,
        threads=order.threads,
        application=application,
        report=report,
    )
    woken, wake = os.pipe()
    os.set_blocking(wake, False)
    os.set_blocking(woken, False)
    signal.set_wakeup_fd(wake, warn_on_full_buffer=False)

    def terminate(_number: int, _frame: FrameType | None) -> None:
        # A second request to stop means now.
        signal.signal(signal.SIGTERM, lambda *_: os._exit(program.NOW))
        worker.drain()

    signal.signal(signal.SIGTERM, terminate)
    # Ctrl-C reaches the whole foreground; the program drains its workers itself.
    signal.signal(signal.SIGINT, lambda *_: None)

    def serve(seat: int) -> None:
        try:
            worker.run(seat)
        except BaseException:
            traceback.print_exc()
            os._exit(70)
        os.write(wake, _ENDED)

    threads = [
        threading.Thread(target=serve, args=(seat,), name=f"perijove-{seat}")
        for seat in range(order.threads)
    ]
    for thread in threads:
        thread.start()
    deadlock.watch(order.deadlock_time)
    program.listen(pipe)
    _wait(woken, len(threads))
    for thread in threads:
        thread.join()
    signal.set_wakeup_fd(-1)
    return 0


def _wait(woken: int, running: int) -> None:
    """Waits until so many threads have ended, and runs the handlers of signals meanwhile."""
    poll = select.poll()
    poll.register(woken, select.POLLIN)
    while running > 0:
        poll.poll()
        # Signals write their number there.
        running -= os.read(woken, 4096).count(_ENDED)


def report(error: BaseException) -> None:
    """Shows an exception that the application raised."""
    sys.stderr.write("".join(traceback.format_exception(error)))
