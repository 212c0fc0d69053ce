"""What Jupyter saves is there whole, whatever becomes of the server meanwhile."""

from __future__ import annotations

import importlib.util
import json
import os
import signal
import stat
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from fake_control import PACKAGES
from jupyter_server.services.contents import fileio
from jupyter_server.services.contents.filemanager import FileContentsManager

#: Begins to save, with Jupyter's own code, and is cut off.
CUT_OFF = """
import importlib.util, os, resource, signal, sys
from jupyter_server.services.contents.filemanager import FileContentsManager

spec = importlib.util.spec_from_file_location("whole_files", sys.argv[1])
module = importlib.util.module_from_spec(spec)
spec.loader.exec_module(module)
module.install()
manager = FileContentsManager(root_dir=".")
if sys.argv[2] == "full":
    resource.setrlimit(resource.RLIMIT_FSIZE, (50_000, 50_000))
    signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
else:
    write = os.fsync
    os.fsync = lambda descriptor: os.kill(os.getpid(), signal.SIGKILL)
manager.save({"type": "file", "format": "text", "content": "new " * 100_000}, "notes.txt")
"""


def source() -> Path:
    found = [Path(path, "perijove/notebook/whole_files.py") for path in PACKAGES]
    return next(path for path in found if path.exists())


@pytest.fixture
def manager(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> FileContentsManager:
    spec = importlib.util.spec_from_file_location("whole_files", source())
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    monkeypatch.setattr(fileio, "atomic_writing", module.writing)
    return FileContentsManager(root_dir=str(tmp_path))


def text(content: str) -> dict[str, Any]:
    return {"type": "file", "format": "text", "content": content}


@pytest.mark.parametrize("how", ["full", "killed"])
def test_a_save_that_is_cut_off_leaves_the_old_version(how: str, tmp_path: Path) -> None:
    (tmp_path / "notes.txt").write_text("old")
    command = [sys.executable, "-c", CUT_OFF, source(), how]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True)
    assert done.returncode == (1 if how == "full" else -signal.SIGKILL), done.stderr
    assert (tmp_path / "notes.txt").read_text() == "old"
    if how == "full":
        assert os.listdir(tmp_path) == ["notes.txt"]


def test_a_new_version_is_as_readable_as_the_old_one(
    manager: FileContentsManager, tmp_path: Path
) -> None:
    path = tmp_path / "notes.txt"
    path.write_text("old")
    path.chmod(0o640)
    os.utime(path, (1, 1))
    manager.save(text("new\n"), "notes.txt")
    assert path.read_text() == "new\n"
    assert stat.S_IMODE(path.stat().st_mode) == 0o640
    assert path.stat().st_mtime > 1
    before = os.umask(0o027)
    manager.save(text("x"), "fresh.txt")
    os.umask(before)
    assert stat.S_IMODE((tmp_path / "fresh.txt").stat().st_mode) == 0o640
    assert sorted(os.listdir(tmp_path)) == ["fresh.txt", "notes.txt"]


def test_a_link_and_a_file_with_two_names_stay_what_they_are(
    manager: FileContentsManager, tmp_path: Path
) -> None:
    (tmp_path / "real.txt").write_text("old")
    (tmp_path / "link.txt").symlink_to("real.txt")
    (tmp_path / "one.txt").write_text("old")
    os.link(tmp_path / "one.txt", tmp_path / "two.txt")
    manager.save(text("new"), "link.txt")
    manager.save(text("new"), "two.txt")
    assert (tmp_path / "link.txt").is_symlink()
    assert [(tmp_path / name).read_text() for name in ("real.txt", "one.txt")] == ["new", "new"]


def test_a_notebook_is_saved_and_read(manager: FileContentsManager, tmp_path: Path) -> None:
    notebook = {"cells": [], "metadata": {}, "nbformat": 4, "nbformat_minor": 5}
    model = {"type": "notebook", "format": "json", "content": notebook}
    manager.save(model, "a.ipynb")
    assert json.loads((tmp_path / "a.ipynb").read_text()) == notebook
    assert manager.get("a.ipynb")["content"]["nbformat"] == 4
