"""The back office that most of these tests come to; it is left as it was found."""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from house import SETTINGS, House


@pytest.fixture(scope="session")
def house() -> Iterator[House]:
    # Not tmp_path: names of sockets end at 107 bytes.
    with tempfile.TemporaryDirectory(prefix="pj") as folder:
        house = House(Path(folder))
        try:
            yield house.serve()
        finally:
            house.stop()


@pytest.fixture
def another() -> Iterator[Callable[..., House]]:
    """A house of a test's own, in a folder of the name it wants."""
    made: list[House] = []
    with tempfile.TemporaryDirectory(prefix="pj") as folder:

        def make(name: str = "house", settings: str = SETTINGS) -> House:
            made.append(House(Path(folder) / name, settings))
            return made[-1]

        yield make
        for house in made:
            house.stop()
