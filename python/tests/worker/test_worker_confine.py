"""A process that was forked confines itself: `_worker.confine`, as forked notebooks call it."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from perijove import _worker

SYSTEM = ["/usr", "/lib", "/lib64", "/proc", "/etc/passwd", sys.base_prefix, sys.prefix]


def forked(action: Callable[[], Any]) -> Any:
    """What an action returns in a process of its own, of one thread."""
    reader, writer = os.pipe()
    child = os.fork()
    if child == 0:
        try:
            os.write(writer, json.dumps(action()).encode())
        except BaseException as error:
            os.write(writer, json.dumps(repr(error)).encode())
        os._exit(0)
    os.close(writer)
    with os.fdopen(reader, "rb") as stream:
        said = stream.read()
    os.waitpid(child, 0)
    return json.loads(said)


def can_read(path: str | Path) -> bool:
    try:
        Path(path).read_bytes()
    except OSError:
        return False
    return True


def lacks_landlock() -> bool:
    lacks = "not implemented" in str(forked(lambda: _worker.confine('{"sandbox": {}}')))
    if lacks:
        print("NOT TESTED: this kernel has no Landlock", file=sys.stderr)
    return lacks


def test_a_forked_process_keeps_what_is_named(tmp_path: Path) -> None:
    if lacks_landlock():
        return
    own, foreign = tmp_path / "own", tmp_path / "foreign"
    for folder in (own, foreign):
        folder.mkdir()
        (folder / "file").write_text("x")
    sandbox = {"read": SYSTEM, "write": [str(own)]}
    environ = f"/proc/{os.getpid()}/environ"

    def attempt() -> list[Any]:
        # More than the tests have open themselves.
        _worker.confine(json.dumps({"limits": {"open-files": 999}, "sandbox": sandbox}))
        (own / "made").write_text("y")
        files = [own / "file", foreign / "file", "/etc/hostname", "/proc/self/environ", environ]
        limit = subprocess.run(["/bin/sh", "-c", "ulimit -n"], capture_output=True, check=True)
        return [*map(can_read, files), limit.stdout.decode().strip()]

    assert forked(attempt) == [True, False, False, True, False, "999"]


def test_a_forked_process_takes_an_account() -> None:
    def attempt() -> list[Any]:
        _worker.confine(json.dumps({"account": {"uid": 65533, "gid": 65532, "groups": [65531]}}))
        # What `/proc` says of it is its own again.
        own = [
            os.getuid(),
            os.geteuid(),
            os.getgid(),
            os.getgroups(),
            can_read("/proc/self/environ"),
        ]
        try:
            os.setuid(0)
        except PermissionError:
            return own
        return ["root again"]

    if os.getuid() == 0:
        assert forked(attempt) == [65533, 65533, 65532, [65531], True]
    else:
        assert "could not take its account" in forked(attempt)


@pytest.mark.parametrize(
    ("confinement", "expected"),
    [
        ("{", "ValueError"),
        ('{"sandbx": {}}', "unknown field"),
        ('{"sandbox": {"read": ["a\\u0000b"]}}', "nul byte"),
    ],
)
def test_what_cannot_be_meant_is_refused(confinement: str, expected: str) -> None:
    assert expected in forked(lambda: _worker.confine(confinement))


def test_a_process_with_threads_is_refused() -> None:
    def attempt() -> None:
        done = threading.Event()
        thread = threading.Thread(target=done.wait)
        thread.start()
        try:
            _worker.confine("{}")
        finally:
            done.set()
            thread.join()

    assert "with threads" in forked(attempt)
