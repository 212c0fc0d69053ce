"""Where the code of this process is: the stacks of threads and of tasks, as lines."""

from __future__ import annotations

import traceback
from types import FrameType
from typing import Any


def of_thread(frame: FrameType | None) -> list[str]:
    """The stack that ends in a frame, the outermost call first."""
    return [] if frame is None else "".join(traceback.format_stack(frame)).splitlines()


def of_task(task: Any) -> list[str]:
    """The coroutines that wait for one another in a task, the innermost last."""
    frames = []
    waiting = task.get_coro()
    while waiting is not None:
        frame = _first(waiting, "cr_frame", "gi_frame", "ag_frame")
        if frame is not None:
            frames.append((frame, frame.f_lineno))
        waiting = _first(waiting, "cr_await", "gi_yieldfrom", "ag_await")
    summary = traceback.StackSummary.extract(iter(frames))
    return "".join(summary.format()).splitlines()


def _first(holder: Any, *names: str) -> Any:
    found = (getattr(holder, name, None) for name in names)
    return next((value for value in found if value is not None), None)
