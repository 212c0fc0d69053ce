"""Serves an ASGI application: the event loop, its lifespan, and how one request is run."""

from __future__ import annotations

import asyncio
import contextlib
import functools
import inspect
import os
import signal
import sys
from collections.abc import Awaitable, Callable, Coroutine
from typing import TYPE_CHECKING, Any

from perijove.worker import deadlock, program, stuck_asgi
from perijove.worker.load import LoadError

if TYPE_CHECKING:
    from perijove.worker.process import Order

Application = Callable[..., Awaitable[None]]
Report = Callable[[BaseException], None]

FAREWELL = 10.0
"""Seconds for the application's shutdown, and for the last answers to be sent."""


class StartupFailed(Exception):
    """The application's lifespan says that it cannot start."""


def is_asgi(application: Any) -> bool:
    """Whether an application is one of ASGI 3, as far as can be told without calling it."""
    if inspect.isclass(application):
        return False
    if inspect.isfunction(application) or inspect.ismethod(application):
        return inspect.iscoroutinefunction(application)
    if isinstance(application, functools.partial):
        return is_asgi(application.func)
    call = getattr(type(application), "__call__", None)  # noqa: B004
    return inspect.iscoroutinefunction(inspect.unwrap(call)) if call else False


def is_asgi_2(application: Any) -> bool:
    """Whether an application looks like one of ASGI 2: called with a scope, then with the rest."""
    if inspect.isclass(application):
        call = getattr(application, "__call__", None)  # noqa: B004
        return inspect.iscoroutinefunction(call)
    return False


def is_served(interface: str, application: Any) -> bool:
    """Whether an application is called as ASGI: because it is set so, or because it looks so."""
    return interface == "asgi" or (interface == "auto" and is_asgi(application))


def refuse_asgi_2(interface: str, application: Any) -> None:
    """Tells an application of the old kind from one that can be served."""
    if interface != "wsgi" and is_asgi_2(application):
        name = getattr(application, "__name__", "the application")
        raise LoadError(
            f"{name} is a class with an asynchronous __call__: an application of ASGI 2, which is"
            " called twice",
            "name an application of ASGI 3, such as asgiref.compatibility.guarantee_single_callable"
            f"({name}), or an object of the class: {name}()",
        )


def new_event_loop() -> asyncio.AbstractEventLoop:
    """uvloop's, where the site's environment has it."""
    try:
        import uvloop
    except ImportError:
        return asyncio.new_event_loop()
    loop: asyncio.AbstractEventLoop = uvloop.new_event_loop()
    return loop


def serve(order: Order, application: Application, pipe: int, report: Report) -> int:
    """Serves until told to stop; the exit status."""
    loop = new_event_loop()
    asyncio.set_event_loop(loop)
    program.listen(pipe, functools.partial(asyncio.all_tasks, loop))
    deadlock.watch(order.deadlock_time)
    try:
        loop.run_until_complete(_serve(loop, order, application, report))
    except StartupFailed as error:
        sys.stderr.write(f"error: the application cannot start: {error}\n")
        return 78
    with contextlib.suppress(Exception):
        loop.run_until_complete(asyncio.wait_for(loop.shutdown_asyncgens(), FAREWELL))
    return 0


async def _serve(
    loop: asyncio.AbstractEventLoop, order: Order, application: Application, report: Report
) -> None:
    from perijove import _worker

    stop = loop.create_future()
    _heed_signals(loop, stop)
    lifespan = Lifespan(application, report)
    await lifespan.start()
    worker = _worker.AsgiWorker(
        socket=order.socket,
        secret=order.secret,
        application=application,
        event_loop=loop,
        run=_runner(loop, order),
        spawn=_spawner(loop),
        report=report,
        state=lifespan.state or None,
        capacity=order.concurrency,
        message_limit=order.websocket_message,
    )
    worker.listen()
    await stop
    idle = loop.create_future()
    worker.drain(idle)
    await idle
    await lifespan.stop()
    until = loop.time() + FAREWELL
    while not worker.flush() and loop.time() < until:
        await asyncio.sleep(0.01)


def _heed_signals(loop: asyncio.AbstractEventLoop, stop: asyncio.Future[None]) -> None:
    def terminate() -> None:
        # A second request to stop means now.
        if stop.done():
            os._exit(program.NOW)
        stop.set_result(None)

    loop.add_signal_handler(signal.SIGTERM, terminate)
    # Ctrl-C reaches the whole foreground; the program drains its workers itself.
    loop.add_signal_handler(signal.SIGINT, lambda: None)


def _spawner(loop: asyncio.AbstractEventLoop) -> Callable[[Coroutine[Any, Any, None]], Any]:
    """How coroutines begin: at once, inside a task, where Python can do that (from 3.12 on)."""
    if sys.version_info >= (3, 12):
        return functools.partial(asyncio.Task, loop=loop, eager_start=True)
    return loop.create_task


def _runner(
    loop: asyncio.AbstractEventLoop, order: Order
) -> Callable[..., Coroutine[Any, Any, None]]:
    """How one request is run: watched, where the site wants that."""
    if order.request_time <= 0 and order.interrupt_time <= 0:
        return run
    watch = stuck_asgi.Watch(loop, run, order.request_time, order.interrupt_time)
    watch.begin()
    return watch.run


async def run(application: Application, scope: dict[str, Any], exchange: Any) -> None:
    """One request, or one websocket.

    Whatever it raises is its own failure, `SystemExit` too: others are under way in this loop.
    """
    try:
        await application(scope, exchange.receive, exchange.send)
    except BaseException as error:
        exchange.fail(error)
    else:
        exchange.finish()


class Lifespan:
    """The application's own start and end.

    An application that knows nothing of lifespans raises, and is served all the same. When it had
    asked what to do before, the exception is shown.
    """

    def __init__(self, application: Application, report: Report) -> None:
        self.state: dict[str, Any] = {}
        self._application = application
        self._report = report
        self._events: asyncio.Queue[dict[str, Any]] = asyncio.Queue()
        self._has_asked = False
        self._started: asyncio.Future[None] | None = None
        self._stopped: asyncio.Future[None] | None = None
        self._task: asyncio.Task[None] | None = None

    async def start(self) -> None:
        """Returns once the application is ready.

        Raises `StartupFailed` when it says that it cannot start.
        """
        loop = asyncio.get_running_loop()
        self._started, self._stopped = loop.create_future(), loop.create_future()
        self._task = loop.create_task(self._run())
        self._events.put_nowait({"type": "lifespan.startup"})
        await self._started

    async def stop(self) -> None:
        """Returns once the application has ended what it began, or has taken too long."""
        if self._task is None or self._task.done() or self._stopped is None:
            return
        self._events.put_nowait({"type": "lifespan.shutdown"})
        done, _ = await asyncio.wait(
            [self._stopped, self._task], timeout=FAREWELL, return_when=asyncio.FIRST_COMPLETED
        )
        if not done:
            sys.stderr.write(
                f"perijove: the application's shutdown took more than {FAREWELL:.0f} seconds\n"
            )
        # What it does after its answer is short, or is ended with the process.
        self._task.cancel()

    async def _run(self) -> None:
        scope = {
            "type": "lifespan",
            "asgi": {"version": "3.0", "spec_version": "2.0"},
            "state": self.state,
        }
        try:
            await self._application(scope, self._receive, self._send)
        except asyncio.CancelledError:
            raise
        except BaseException as error:
            self._failed(error)
        else:
            self._settle(self._started)
            self._settle(self._stopped)

    def _failed(self, error: BaseException) -> None:
        """An exception: either lifespans mean nothing to the application, or it has answered."""
        if self._started is None:
            return
        if not self._started.done():
            self.state.clear()
            if self._has_asked:
                sys.stderr.write("perijove: the application failed in its lifespan:\n")
                self._report(error)
            self._settle(self._started)
        elif self._started.exception() is None:
            self._report(error)
        self._settle(self._stopped)

    async def _receive(self) -> dict[str, Any]:
        self._has_asked = True
        return await self._events.get()

    async def _send(self, event: dict[str, Any]) -> None:
        kind = event["type"]
        if kind == "lifespan.startup.complete":
            self._settle(self._started)
        elif kind == "lifespan.startup.failed":
            message = event.get("message") or "its lifespan failed"
            self._settle(self._started, StartupFailed(message))
        elif kind == "lifespan.shutdown.complete":
            self._settle(self._stopped)
        elif kind == "lifespan.shutdown.failed":
            message = event.get("message") or "no reason was told"
            sys.stderr.write(f"perijove: the application's shutdown failed: {message}\n")
            self._settle(self._stopped)
        else:
            raise ValueError(f"an event of type {kind!r} cannot be sent in a lifespan")

    @staticmethod
    def _settle(future: asyncio.Future[None] | None, error: Exception | None = None) -> None:
        if future is None or future.done():
            return
        if error:
            future.set_exception(error)
        else:
            future.set_result(None)
