"""The examples of the guide to the control socket, run as they stand there."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from collections.abc import Callable

import pytest
from example import PACKAGE, PATIENCE, TREE, Example

GUIDE = (TREE / "docs/guides/control-socket.md").read_text()

APP = """
def application(environ, start_response):
    start_response("200 OK", [("Content-Type", "text/plain")])
    return [b"a site"]
"""


@pytest.fixture
def site(example: Callable[..., Example]) -> Example:
    configuration = '[notebook]\npath = "/notebook/"\n'
    return example("site", {"app.py": APP, "perijove.toml": configuration}).serve()


@pytest.mark.parametrize(
    ("language", "program"),
    [("sh", ["bash", "-euo", "pipefail"]), ("ruby", ["ruby"]), ("js", ["node"]), ("python", [])],
)
def test_the_example_in(language: str, program: list[str], site: Example) -> None:
    (block,) = re.findall(rf"```{language}\n(.*?)```", GUIDE, re.DOTALL)
    script = site.root / "example"
    script.write_text(block)
    done = subprocess.run(
        [*(program or [sys.executable]), str(script)],
        env={
            "PATH": os.environ["PATH"],
            "PERIJOVE_CONTROL": site.environment["PERIJOVE_RUNTIME_FOLDER"] + "/control.sock",
            "PYTHONPATH": str(PACKAGE),
        },
        capture_output=True,
        text=True,
        timeout=PATIENCE,
        check=False,
    )
    assert done.returncode == 0, done.stderr + done.stdout + site.log.read_text()
    launched, state, ended = re.split(r"(?<=[}])(?=[{])|\n", done.stdout.strip())
    assert re.search(r"/notebook/ada/lab/tree/default-[0-9a-f]{8}\.ipynb", launched)
    assert re.search("starting|ready", state)
    assert re.search("absent|stopped|True", ended)
