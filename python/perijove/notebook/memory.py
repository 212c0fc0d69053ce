"""Whether an earlier kernel of this notebook was ended for lack of memory: the next one tells.

The kernel that was ended cannot say so, and Jupyter only knows that it died. Whoever comes after
it, in the same control group, sees by the group's count that memory ran out.
"""

from __future__ import annotations

import contextlib
import os
from collections.abc import Callable
from pathlib import Path

#: A kernel is ended before the server: its state is the smaller loss.
SOONER = "500"

#: Where the count that was told last is kept, beside the script of this notebook's launch: a user's
#: notebooks share their home, and each has a group of its own.
TOLD = "out-of-memory"


def begin() -> tuple[str, Callable[[], None]]:
    """Has this kernel be ended before the server; what is to be said of those before it, and what
    is to be called once that was shown. A kernel that is replaced before it has run a cell has
    shown nothing: the next one says it again."""
    # Where it may not, the largest one is ended.
    with contextlib.suppress(OSError):
        Path("/proc/self/oom_score_adj").write_text(SOONER)
    try:
        return _news()
    except (OSError, ValueError):
        return "", lambda: None


def _news() -> tuple[str, Callable[[], None]]:
    events, limit = _group()
    count = ended(events.read_text()) if events is not None else None
    told = Path(os.environ.get("PERIJOVE_STARTUP") or Path.home() / TOLD).with_name(TOLD)
    # A group that was made anew counts from the beginning.
    if count is None or count == _told(told):
        return "", lambda: None
    if count == 0:
        told.write_text("0")
        return "", lambda: None
    allowed = f" ({int(limit.read_text()) >> 20} MiB)" if limit is not None else ""
    return (
        f"out of memory: this notebook reached its limit{allowed}, and the kernel before this one "
        "was ended for it\n"
    ), lambda: _note(told, count)


def _told(told: Path) -> int:
    try:
        return int(told.read_text())
    except (OSError, ValueError):
        return 0


def _note(told: Path, count: int) -> None:
    # What cannot be kept is said once more by the next kernel.
    with contextlib.suppress(OSError):
        told.write_text(str(count))


def ended(events: str) -> int | None:
    """How many processes the kernel of the system has ended in the group."""
    for line in events.splitlines():
        name, _, value = line.partition(" ")
        if name == "oom_kill":
            return int(value)
    return None


def _group() -> tuple[Path | None, Path | None]:
    """The files with the events and with the limit of the group that this process is in."""
    for line in Path("/proc/self/cgroup").read_text().splitlines():
        _, controllers, path = line.split(":", 2)
        if not os.path.basename(path).startswith("perijove-"):
            continue
        if controllers == "":
            places = [("/sys/fs/cgroup", "memory.events", "memory.max")]
            places.append(("/sys/fs/cgroup/unified", "memory.events", "memory.max"))
        elif "memory" in controllers.split(","):
            places = [("/sys/fs/cgroup/memory", "memory.oom_control", "memory.limit_in_bytes")]
        else:
            continue
        for mount, events, limit in places:
            folder = Path(mount + path)
            if (folder / events).exists():
                return folder / events, folder / limit
    return None, None
