"""Files that Jupyter saves are whole at any time: the old version, or the new one.

Jupyter's own way writes into the file itself and keeps a copy meanwhile. Whoever is killed then, or
finds the disk full, leaves a torn file behind. Here the new version is written beside the old one
and takes its place at once.
"""

from __future__ import annotations

import os
import secrets
import shutil
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from typing import Any

from jupyter_server.services.contents import fileio

_in_place = fileio.atomic_writing


def install() -> None:
    fileio.atomic_writing = writing


@contextmanager
def writing(
    path: str, text: bool = True, encoding: str = "utf-8", log: Any = None, **options: Any
) -> Iterator[Any]:
    """Opens a file to be written whole; it has its new content once the context has ended well."""
    if os.path.islink(path):
        path = os.path.join(os.path.dirname(path), os.readlink(path))
    if _must_stay(path):
        with _in_place(path, text=text, encoding=encoding, log=log, **options) as file:
            yield file
        return
    folder = os.path.dirname(path) or os.getcwd()
    # Dropbox and others pass by names that begin like this.
    draft = os.path.join(folder, f".~{secrets.token_hex(8)}")
    if text:
        options = {"encoding": encoding, "newline": "\n", **options}
    try:
        with open(draft, "x" if text else "xb", **options) as file:
            yield file
            file.flush()
            os.fsync(file.fileno())
        _take_after(path, draft)
        os.replace(draft, path)
    except BaseException:
        with suppress(OSError):
            os.unlink(draft)
        raise
    _sync(folder)


def _must_stay(path: str) -> bool:
    """Whether it is the file itself that counts: it has other names, or it is no plain file, or
    nothing can be put in its place."""
    try:
        found = os.lstat(path)
    except OSError:
        return False
    may_replace = os.access(os.path.dirname(path) or ".", os.W_OK) and os.access(path, os.W_OK)
    is_ours = not hasattr(os, "geteuid") or found.st_uid == os.geteuid()
    return not (may_replace and is_ours and os.path.isfile(path) and found.st_nlink == 1)


def _take_after(path: str, draft: str) -> None:
    """The new version is as readable as the old one was, by whomever."""
    with suppress(OSError):
        found = os.stat(path)
        shutil.copystat(path, draft)
        os.utime(draft)
        os.chown(draft, -1, found.st_gid)


def _sync(folder: str) -> None:
    with suppress(OSError):
        descriptor = os.open(folder, os.O_RDONLY)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)
