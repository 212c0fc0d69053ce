"""What the process is called in `ps` and `top`.

The system shows the memory that the arguments lie in, so that is written over, where it is. Python
has made copies of its own: `sys.argv` stays what it was. Behind the arguments lies the environment,
which stays as well. Elsewhere than on Linux nothing happens.
"""

from __future__ import annotations

import contextlib
import os

_LONGEST_NAME = 15
"""Bytes of a thread's name (`PR_SET_NAME`, prctl(2))."""
_ARGUMENTS_START = 48
"""The field in `/proc/PID/stat` (proc(5)); the one behind it says where they end."""


def show(application: str, worker: int) -> None:
    """Has the system call this process that worker of an application."""
    # Where the system does not let us, nothing is lost.
    with contextlib.suppress(OSError, ValueError):
        _write_over_arguments(f"perijove: worker {worker} of {application}".encode())
    with contextlib.suppress(OSError), open("/proc/self/comm", "wb", buffering=0) as file:
        file.write(short_name(application, worker))


def short_name(application: str, worker: int) -> bytes:
    """The application and the number of the worker, as far as there is room."""
    number = f" {worker}".encode()
    name = application.encode()[: _LONGEST_NAME - len(number)]
    # A character that is cut through is left out.
    return name.decode(errors="ignore").encode() + number


def _write_over_arguments(title: bytes) -> None:
    with open("/proc/self/stat", "rb") as file:
        # The second field is the program's name in brackets, whatever that holds.
        fields = file.read().rpartition(b")")[2].split()
    start, end = (int(field) for field in fields[_ARGUMENTS_START - 3 :][:2])
    room = end - start
    if start <= 0 or room <= 1:
        return
    # The last byte stays zero: without it the system would show what lies behind.
    text = title[: room - 1].ljust(room, b"\0")
    memory = os.open("/proc/self/mem", os.O_WRONLY | os.O_CLOEXEC)
    try:
        os.pwrite(memory, text, start)
    finally:
        os.close(memory)
