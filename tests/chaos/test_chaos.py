"""A minute of it, with each change; `make chaos` takes ten."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path


def test_nobody_loses_anything_to_a_minute_of_chaos() -> None:
    seconds = os.environ.get("CHAOS_SECONDS", "60")
    command = [sys.executable, Path(__file__).with_name("run.py"), "--seconds", seconds]
    if seed := os.environ.get("CHAOS_SEED"):
        command += ["--seed", seed]
    done = subprocess.run(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
    print(done.stdout)
    assert done.returncode == 0, done.stdout
