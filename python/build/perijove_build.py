"""Builds wheels: the command by cargo, then everything else by maturin.

Maturin packs an extension module or a binary, not both; what lies in `scripts/` of its data folder
it installs as a command, hence the command is built into that folder first. The demo's site comes
along as a folder of the package.
"""

from __future__ import annotations

import os
import shutil
import subprocess
from pathlib import Path
from typing import Any

import maturin
from maturin import get_requires_for_build_editable as get_requires_for_build_editable
from maturin import get_requires_for_build_sdist as get_requires_for_build_sdist
from maturin import get_requires_for_build_wheel as get_requires_for_build_wheel

TREE = Path(__file__).resolve().parents[2]
SCRIPTS = TREE / "python/perijove.data/scripts"
DEMO = TREE / "python/perijove/demo"

_Settings = dict[str, Any] | None


def prepare_metadata_for_build_wheel(directory: str, settings: _Settings = None) -> str:
    SCRIPTS.mkdir(parents=True, exist_ok=True)  # maturin wants the data folder to be there
    return str(maturin.prepare_metadata_for_build_wheel(directory, settings))


def prepare_metadata_for_build_editable(directory: str, settings: _Settings = None) -> str:
    SCRIPTS.mkdir(parents=True, exist_ok=True)
    return str(maturin.prepare_metadata_for_build_editable(directory, settings))


def build_wheel(directory: str, settings: _Settings = None, metadata: str | None = None) -> str:
    put_command()
    put_demo()
    try:
        return str(maturin.build_wheel(directory, settings, metadata))
    finally:
        shutil.rmtree(DEMO)  # in the tree the demo is run from `examples/`


def build_editable(directory: str, settings: _Settings = None, metadata: str | None = None) -> str:
    put_command()
    return str(maturin.build_editable(directory, settings, metadata))


def build_sdist(directory: str, settings: _Settings = None) -> str:
    return str(maturin.build_sdist(directory, settings))


def put_command() -> None:
    """Build the command, and lay it where maturin looks for scripts."""
    cargo = ["cargo", "build", "--release", "--locked", "--package", "perijove"]
    subprocess.run(cargo, cwd=TREE, check=True)
    target = Path(os.environ.get("CARGO_TARGET_DIR", TREE / "target"))
    triple = os.environ.get("CARGO_BUILD_TARGET", "")
    SCRIPTS.mkdir(parents=True, exist_ok=True)
    shutil.copy2(TREE / target / triple / "release/perijove", SCRIPTS / "perijove")


def put_demo() -> None:
    """Lay a copy of the demo's site into the package, without what a run left in it."""
    shutil.rmtree(DEMO, ignore_errors=True)
    unwanted = shutil.ignore_patterns("var", ".venv", "__pycache__")
    shutil.copytree(TREE / "examples/pyramid-site", DEMO, ignore=unwanted)


if __name__ == "__main__":
    # `make wheel`: lay both in place for maturin's own command line, which tags release wheels.
    put_command()
    put_demo()
