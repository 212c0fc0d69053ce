"""Has the measurement go before all else that the machine does, so that walls count on a busy one."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterator
from pathlib import Path

GROUPS = Path("/sys/fs/cgroup")
# Of the first and of the second kind of control groups: what everybody has is 1024, and 100.
KINDS = {"cpu/perijove-bench": ("cpu.shares", "200000"), "perijove-bench": ("cpu.weight", "10000")}


@contextlib.contextmanager
def precedence() -> Iterator[None]:
    """A group of our own with nearly all there is; whatever we start is in it. As root only."""
    for place, (name, share) in KINDS.items():
        group = GROUPS / place
        if not (group.parent / "cgroup.procs").exists():
            continue
        group.mkdir(exist_ok=True)
        if not (group / name).exists():
            group.rmdir()
            continue
        (group / name).write_text(share)
        (group / "cgroup.procs").write_text(str(os.getpid()))
        try:
            yield
        finally:
            (group.parent / "cgroup.procs").write_text(str(os.getpid()))
            # Whoever is in it still is left alone.
            with contextlib.suppress(OSError):
                group.rmdir()
        return
    raise SystemExit("there is no control group for processors here")
