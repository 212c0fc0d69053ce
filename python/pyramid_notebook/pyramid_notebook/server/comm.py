"""The files by which a site and the daemon of a notebook speak: the context, and who is alive.

A context on the disk outlives its daemon, and a number of a process is used again: hence a context
counts only while the process that wrote it lives, which is known by its number and its start.
"""

from __future__ import annotations

import json
import os
import secrets
import tempfile
from typing import Any

__all__ = ["check_pid", "clear_context", "get_context", "get_context_file_name", "set_context"]


def check_pid(pid: int) -> bool:
    """Whether there is a process of this number that is ours to signal."""
    try:
        os.kill(pid, 0)
    except (OSError, OverflowError):
        return False
    return True


def started(pid: int) -> str | None:
    """What tells a process from a later one of the same number; None when there is none."""
    try:
        with open(f"/proc/{pid}/stat", encoding="ascii", errors="replace") as file:
            # The name before may hold spaces and brackets. 22nd is the start, 3rd the state.
            rest = file.read().rpartition(")")[2].split()
    except FileNotFoundError:
        # Where there is no such file at all, the number is all that is known.
        return "unknown" if not os.path.exists("/proc/self/stat") and check_pid(pid) else None
    except OSError:
        return None
    return None if rest[0] in "ZX" else rest[19]


def get_context_file_name(pid_file: str) -> str:
    """Where the context lies: beside the file with the process's number."""
    return os.path.join(os.path.dirname(os.path.abspath(pid_file)), "context.json")


def set_context(pid_file: str, context: dict[str, Any]) -> None:
    """Keep the context, for its owner's eyes alone; a reader finds the old one or the new one."""
    path = get_context_file_name(pid_file)
    write_private(path, json.dumps(context).encode("utf-8"))


def get_context(pid_file: str, daemon: bool = False) -> dict[str, Any] | None:
    """The context of the notebook that runs; None when none does, or its file makes no sense.

    A `daemon` that is about to start reads what was left for it, whether anybody lives or not.
    """
    try:
        with open(get_context_file_name(pid_file), encoding="utf-8") as file:
            context = json.load(file)
    except (OSError, ValueError):
        return None
    if not isinstance(context, dict):
        return None
    if daemon or is_alive(context):
        return context
    return None


def is_alive(context: dict[str, Any]) -> bool:
    """Whether the process that noted itself down in a context is still the same."""
    pid, since = context.get("pid"), context.get("pid_started")
    return isinstance(pid, int) and pid > 0 and since is not None and started(pid) == since


def clear_context(pid_file: str) -> None:
    """Does nothing, as in the original."""


def write_private(path: str, content: bytes) -> None:
    """Replace a file as a whole, readable by its owner alone; a link there is not followed."""
    draft = f"{path}.{secrets.token_hex(4)}.new"
    try:
        with os.fdopen(os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "wb") as file:
            file.write(content)
        os.replace(draft, path)
    except BaseException:
        if os.path.lexists(draft):
            os.unlink(draft)
        raise


def make_private(folder: str) -> str:
    """Make a folder of ours, closed to others; refuses one that another account has made."""
    os.makedirs(folder, mode=0o700, exist_ok=True)
    seen = os.stat(folder, follow_symlinks=False)
    if seen.st_uid not in (0, os.geteuid()):
        raise RuntimeError(
            f"the folder `{folder}` belongs to another account (number {seen.st_uid}); "
            "hint: name a folder that only this account can write to"
        )
    return folder


def token_file(port: int) -> str:
    """Where the token of the notebook on a port of this machine lies."""
    base = os.environ.get("XDG_RUNTIME_DIR") or tempfile.gettempdir()
    folder = make_private(os.path.join(base, f"pyramid_notebook-{os.geteuid()}"))
    os.chmod(folder, 0o700)
    return os.path.join(folder, f"{port}.json")


def get_token(port: int) -> str:
    """The token for the notebook on a port, as long as it is ours that listens there."""
    try:
        with open(token_file(port), encoding="utf-8") as file:
            noted = json.load(file)
        if is_alive(noted):
            return str(noted["token"])
    except (OSError, ValueError, KeyError):
        pass
    raise RuntimeError(
        f"no notebook of this account listens on port {port}; hint: start it by `NotebookManager`"
    )
