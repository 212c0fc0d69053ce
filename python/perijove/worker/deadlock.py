"""Ends a worker in which no Python has run for too long, and shows where it is stuck.

Code in C that keeps the interpreter's lock (a regular expression, a lock of its own) stops every
thread of the process, so nobody in it can say so, but a thread that needs no lock: the one of
`faulthandler`. It is put off again and again by a thread that does need it.
"""

from __future__ import annotations

import faulthandler
import threading
import time

_STANDARD_ERROR = 2
_LONGEST_PAUSE = 5.0


def watch(seconds: float) -> None:
    """Ends the process, its stacks in the log, when no Python has run for so long; 0 is never."""
    if seconds > 0:
        thread = threading.Thread(target=_put_off, args=(seconds,), name="perijove-deadlock")
        thread.daemon = True
        thread.start()


def _put_off(seconds: float) -> None:
    pause = min(seconds / 4, _LONGEST_PAUSE)
    while True:
        faulthandler.dump_traceback_later(seconds, exit=True, file=_STANDARD_ERROR)
        time.sleep(pause)
