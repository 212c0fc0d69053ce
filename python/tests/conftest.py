"""Puts the packages under test on the path, and a control socket where they look for one."""

from __future__ import annotations

import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest
from fake_control import PACKAGES, FakeControl

sys.path[:0] = PACKAGES


@pytest.fixture
def control(monkeypatch: pytest.MonkeyPatch) -> Iterator[FakeControl]:
    # Not tmp_path: names of sockets end at 107 bytes.
    with tempfile.TemporaryDirectory(prefix="pj") as folder:
        fake = FakeControl(Path(folder))
        monkeypatch.setenv("PERIJOVE_CONTROL", fake.path)
        yield fake
        fake.close()
