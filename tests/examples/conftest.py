"""What the tests of the examples share."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from example import Example


@pytest.fixture
def example(tmp_path: Path) -> Iterator[Callable[..., Example]]:
    """Makes a copy of an example, or a site of these files; what is served ends with the test."""
    made: list[Example] = []

    def make(name: str, files: dict[str, str] | None = None) -> Example:
        made.append(Example(name, tmp_path, files))
        return made[-1]

    yield make
    for one in made:
        one.stop()
