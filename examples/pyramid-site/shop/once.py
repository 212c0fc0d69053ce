"""Makes a file exactly once, whole, though several workers start at the same time."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Callable
from pathlib import Path


def make_once(path: Path, write: Callable[[Path], object]) -> None:
    """Let `write` fill a draft, and give it its name unless another process was first.

    The file is readable by this account only. Whoever is killed meanwhile leaves a draft behind,
    never half a file.
    """
    if path.exists():
        return
    draft = path.with_name(f".{path.name}.{os.getpid()}")
    os.close(os.open(draft, os.O_CREAT | os.O_WRONLY | os.O_TRUNC, 0o600))
    try:
        write(draft)
        with contextlib.suppress(FileExistsError):
            os.link(draft, path)
    finally:
        draft.unlink()
