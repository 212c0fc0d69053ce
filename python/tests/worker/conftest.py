"""Real worker processes under each Python at hand."""

from __future__ import annotations

import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from frames import Connection, Worker

_TELL = (
    "import sys, sysconfig; print(sys.implementation.name, '%d.%d' % sys.version_info[:2],"
    " sysconfig.get_config_var('Py_GIL_DISABLED') or 0)"
)


def _suitable(python: str) -> str | None:
    """The version of a Python that can run a worker."""
    told = subprocess.run([python, "-c", _TELL], capture_output=True, text=True, check=False)
    match told.stdout.split():
        case ["cpython", version, "0"] if tuple(map(int, version.split("."))) >= (3, 10):
            return version
    return None


def _pythons() -> dict[str, str]:
    """Each version that is there, and where: this one, pyenv's, those on the path."""
    own = ".".join(map(str, sys.version_info[:2]))
    found = {own: sys.executable}
    places = [str(path) for path in Path.home().glob(".pyenv/versions/3.*/bin/python")]
    places += filter(None, (shutil.which(f"python3.{minor}") for minor in range(10, 20)))
    for place in places:
        version = _suitable(place)
        if version:
            found.setdefault(version, place)
    return dict(sorted(found.items()))


PYTHONS = _pythons()


@pytest.fixture(scope="session", params=PYTHONS.values(), ids=PYTHONS.keys())
def python(request: pytest.FixtureRequest) -> str:
    """Every Python at hand, one after another."""
    return str(request.param)


@pytest.fixture(scope="session")
def _workers() -> Iterator[dict[tuple[str, str], Worker]]:
    workers: dict[tuple[str, str], Worker] = {}
    yield workers
    for worker in workers.values():
        worker.stop()


@pytest.fixture
def serve(
    python: str, _workers: dict[tuple[str, str], Worker]
) -> Iterator[Callable[[str], Connection]]:
    """A new connection to the worker that serves an application of `apps`."""
    made: list[Connection] = []

    def connect(app: str, *, shelf: bool = False) -> Connection:
        key = (python, app)
        if key not in _workers:
            _workers[key] = Worker(f"{app}:application", python=python)
        connection = Connection(_workers[key].path, shelf=shelf)
        made.append(connection)
        return connection

    yield connect
    for connection in made:
        connection.close()
