"""A site under each driver: where its environment is, and how it is started and asked."""

from __future__ import annotations

import os
import shutil
import subprocess
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest
from served import TREE, Served
from table import COLUMNS, Column


@pytest.fixture(scope="session")
def place() -> Iterator[Path]:
    """A folder that Apache's account may enter. Not pytest's: names of sockets end at 107 bytes."""
    with tempfile.TemporaryDirectory(prefix="pj") as folder:
        Path(folder).chmod(0o755)
        yield Path(folder)


@pytest.fixture(scope="session")
def parts(place: Path) -> tuple[Path, Path]:
    """The environment with all servers, and our package: where every account can read them."""
    environment, package = TREE / "target/venvs/drivers", TREE / "python/perijove"
    if os.getuid() != 0 or _is_open(environment / "bin/python"):
        return environment, package
    for source, name in ((environment, "drivers"), (package, "perijove")):
        shutil.copytree(source, place / name, symlinks=True)
    return place / "drivers", place / "perijove"


def _is_open(python: Path) -> bool:
    tried = subprocess.run(
        [python, "-c", "import mod_wsgi"], user="www-data", group="www-data", check=False, cwd="/"
    )
    return tried.returncode == 0


@pytest.fixture(scope="module", params=COLUMNS, ids=lambda column: column.name)
def column(request: pytest.FixtureRequest) -> Column:
    found: Column = request.param
    return found


@pytest.fixture(scope="module")
def served(column: Column, place: Path, parts: tuple[Path, Path]) -> Iterator[Served]:
    """The site under one driver; whatever happens, nothing of it is left behind."""
    with Served(place, parts, column) as site:
        yield site


@pytest.fixture
def another(column: Column, place: Path, parts: tuple[Path, Path]) -> Iterator[Served]:
    """One of its own, not started yet, for what ends it."""
    with Served(place, parts, column, starts=False) as site:
        yield site
