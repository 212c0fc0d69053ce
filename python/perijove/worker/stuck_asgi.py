"""Shows where a request of an ASGI application is stuck, and ends it; and where the event loop is.

Requests are watched until their answer has begun: what comes after that (a stream of events, a task
in the background) may take as long as it likes, and so may websockets. The loop itself looks after
them. When it does not come to that, because code keeps it from its next turn, a thread shows where
it is; such code cannot be interrupted without harm to the loop.
"""

from __future__ import annotations

import asyncio
import contextlib
import sys
import threading
import time
from collections.abc import Awaitable, Callable
from typing import Any

from perijove.worker import stacks, stuck

Run = Callable[[Any, dict[str, Any], Any], Awaitable[None]]


class _Inside:
    """A request inside the application."""

    def __init__(self, request_id: str, exchange: Any) -> None:
        self.request_id = request_id
        self.task = asyncio.current_task()
        self.exchange = exchange
        self.since = time.monotonic()
        self.is_shown = False
        self.is_interrupted = False


class Watch:
    """Watches the requests of one event loop."""

    def __init__(
        self, loop: asyncio.AbstractEventLoop, run: Run, shown: float, interrupted: float
    ) -> None:
        from perijove import _worker

        self._request_id: Callable[[], str] = _worker.request_id
        self._loop, self._run = loop, run
        self._shown, self._interrupted = shown, interrupted
        self._shortest = min(limit for limit in (shown, interrupted) if limit > 0)
        self._pause = stuck.pause(self._shortest)
        self._inside: set[_Inside] = set()
        self._turn = time.monotonic()
        self._thread = threading.get_ident()

    def begin(self) -> None:
        """Begins to look, from the thread that the loop runs in."""
        self._look()
        threading.Thread(target=self._watch_loop, name="perijove-stuck", daemon=True).start()

    async def run(self, application: Any, scope: dict[str, Any], exchange: Any) -> None:
        """One request, or one websocket, which is not watched."""
        if scope["type"] != "http":
            return await self._run(application, scope, exchange)
        mine = _Inside(self._request_id(), exchange)
        self._inside.add(mine)

        async def watched(*arguments: Any) -> None:
            try:
                await application(*arguments)
            except asyncio.CancelledError:
                if not mine.is_interrupted:
                    raise

        try:
            await self._run(watched, scope, exchange)
        finally:
            self._inside.discard(mine)

    def _look(self) -> None:
        self._turn = now = time.monotonic()
        for request in list(self._inside):
            if not request.exchange.is_unanswered():
                self._inside.discard(request)
                continue
            age = now - request.since
            ends = 0 < self._interrupted <= age
            if not request.is_shown and (ends or 0 < self._shown <= age):
                request.is_shown = True
                stuck.show(request.request_id, stuck.where(age), stacks.of_task(request.task))
            if ends:
                request.is_interrupted = True
                self._inside.discard(request)
                request.exchange.time_out()
                if request.task is not None:
                    request.task.cancel()
        self._loop.call_later(self._pause, self._look)

    def _watch_loop(self) -> None:
        """Shows where the loop is when it has not come to its next turn for too long."""
        shown = 0.0
        while True:
            time.sleep(self._pause)
            turn = self._turn
            late = time.monotonic() - turn
            if turn == shown or late < self._shortest + self._pause:
                continue
            shown = turn
            frame = sys._current_frames().get(self._thread)
            text = f"the event loop has been kept from its next turn for {late:.1f} seconds"
            stuck.show(self._current(), f"{text}; it is here:", stacks.of_thread(frame))

    def _current(self) -> str:
        """The id of the request that the loop is stuck in, if it is one that is watched."""
        with contextlib.suppress(Exception):
            task = asyncio.current_task(self._loop)
            for request in list(self._inside):
                if request.task is task:
                    return request.request_id
        return ""
