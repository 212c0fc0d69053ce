"""The program that started this process: it asks on the pipe, and its end is the end of the pipe.

A thread listens, so that it is heard whatever else this process does, as long as Python runs in it.
"""

from __future__ import annotations

import os
import sys
import threading
from collections.abc import Callable, Iterable
from typing import Any

from perijove.worker import stacks

NOW = 75
"""The exit status when the program is gone, or asked twice."""

_STANDARD_ERROR = 2
_NAME = "perijove-program"


def listen(pipe: int, tasks: Callable[[], Iterable[Any]] = tuple) -> None:
    """Answers the program from now on. `tasks`: those of the event loop, if there is one."""
    listening = threading.Thread(target=_listen, args=(pipe, tasks), name=_NAME, daemon=True)
    listening.start()


def _listen(pipe: int, tasks: Callable[[], Iterable[Any]]) -> None:
    begun = b""
    while True:
        data = os.read(pipe, 4096)
        if not data:
            os._exit(NOW)
        *questions, begun = (begun + data).split(b"\n")
        for question in questions:
            _answer(question.decode(), tasks)


def _answer(question: str, tasks: Callable[[], Iterable[Any]]) -> None:
    """Each line says what it is the answer to; so does the end."""
    try:
        lines = [*_threads(), *_tasks(tasks)] if question.startswith("stacks-") else []
    except Exception as error:
        lines = [f"the stacks could not be read: {error!r}"]
    for line in [*lines, "\x04"]:
        # One at a time: a pipe takes a short write as a whole, whoever else writes meanwhile.
        text = f"\x1e{question}\x1f{line}\n"
        os.write(_STANDARD_ERROR, text.encode("utf-8", "backslashreplace"))


def _threads() -> list[str]:
    lines = []
    names = {thread.ident: thread.name for thread in threading.enumerate()}
    for identity, frame in sys._current_frames().items():
        name = names.get(identity, "unknown")
        # Those of ours that only look after others.
        if name not in (_NAME, "perijove-deadlock", "perijove-stuck"):
            lines += [f"thread {name}:", *stacks.of_thread(frame)]
    return lines


def _tasks(tasks: Callable[[], Iterable[Any]]) -> list[str]:
    lines = []
    for task in tasks():
        lines += [f"task {task.get_name()}:", *stacks.of_task(task)]
    return lines
