"""Whether an earlier kernel of this notebook was ended for lack of memory: the next one tells.

The kernel that was ended cannot say so, and Jupyter only knows that it died. Whoever comes after
it, in the same control group, sees by the group's count that memory ran out.
"""

from __future__ import annotations

import contextlib
import os
from pathlib import Path

#: A kernel is ended before the server: its state is the smaller loss.
SOONER = "500"

#: Where the count that was told last is kept, below the home.
TOLD = ".perijove/out-of-memory"


def begin() -> str:
    """Has this kernel be ended before the server; what is to be said of those before it."""
    # Where it may not, the largest one is ended.
    with contextlib.suppress(OSError):
        Path("/proc/self/oom_score_adj").write_text(SOONER)
    try:
        return _tell()
    except (OSError, ValueError):
        return ""


def _tell() -> str:
    events, limit = _group()
    count = ended(events.read_text()) if events is not None else None
    if count is None:
        return ""
    told = Path.home() / TOLD
    try:
        before = int(told.read_text())
    except (OSError, ValueError):
        before = 0
    if count == before:
        return ""
    told.write_text(str(count))
    # A group that was made anew counts from the beginning.
    if count < before:
        before = 0
    if count == before:
        return ""
    allowed = f" ({int(limit.read_text()) >> 20} MiB)" if limit is not None else ""
    return (
        f"out of memory: this notebook reached its limit{allowed}, and the kernel before this one "
        "was ended for it\n"
    )


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
