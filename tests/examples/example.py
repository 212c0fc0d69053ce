"""A site of `examples/`, served by the installed program from a copy of its own."""

from __future__ import annotations

import os
import re
import select
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

TREE = Path(__file__).resolve().parents[2]
WHEEL = TREE / "target/venvs/wheel"
COMMAND = WHEEL / "bin/perijove"

#: Where the package lies for a program of the site's that perijove does not start.
PACKAGE = next(WHEEL.glob("lib/python3*/site-packages"), TREE / "python")

#: Seconds to wait for what a busy machine may take its time for.
PATIENCE = 90.0


class Example:
    """A copy of an example, and the perijove that serves it."""

    def __init__(
        self,
        name: str,
        folder: Path,
        files: dict[str, str] | None = None,
        command: Path = COMMAND,
    ) -> None:
        """A copy of the example of that name, or a site of these files."""
        self.root, self.command = folder / name, command
        if files is None:
            unwanted = shutil.ignore_patterns("var", "__pycache__", ".venv")
            shutil.copytree(TREE / "examples" / name, self.root, ignore=unwanted)
        else:
            self.root.mkdir()
            for file, text in files.items():
                (self.root / file).write_text(text)
        self.log = folder / "perijove.log"
        self.environment = {
            "PATH": os.environ["PATH"],
            "HOME": str(folder),
            "PERIJOVE_STATE_FOLDER": str(folder / "state"),
            "PERIJOVE_RUNTIME_FOLDER": str(folder / "run"),
            "PERIJOVE_SITE__PYTHON": sys.executable,
            "PERIJOVE_SITE__WORKERS": "2",
        }
        self.process: subprocess.Popen[str] | None = None
        self.listen, self.url = "127.0.0.1:0", ""

    def python(self, *arguments: str, **environment: str) -> None:
        """Runs the site's own Python in its folder."""
        subprocess.run(
            [sys.executable, *arguments],
            cwd=self.root,
            env=self.environment | {"PYTHONPATH": str(PACKAGE)} | environment,
            check=True,
            stdout=subprocess.DEVNULL,
            timeout=PATIENCE,
        )

    def serve(self, **environment: str) -> Example:
        """Serves, and waits until it says that it is ready."""
        self.environment |= environment
        with self.log.open("a") as log:
            self.process = subprocess.Popen(
                [self.command, "serve", "--listen", self.listen],
                cwd=self.root,
                env=self.environment,
                stdout=subprocess.PIPE,
                stderr=log,
                text=True,
            )
        assert self.process.stdout is not None
        came, _, _ = select.select([self.process.stdout], [], [], PATIENCE)
        ready = re.fullmatch(r"ready: (\S+)\n", self.process.stdout.readline() if came else "")
        assert ready is not None, self.log.read_text()
        self.url = ready[1]
        return self

    def tell(self, *arguments: str) -> str:
        """Another command of perijove's beside the serving one, which must succeed."""
        done = self.ask(*arguments)
        assert done.returncode == 0, done.stderr + self.log.read_text()
        return done.stdout

    def ask(self, *arguments: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [self.command, *arguments],
            cwd=self.root,
            env=self.environment,
            capture_output=True,
            text=True,
            timeout=PATIENCE,
            check=False,
        )

    def until_told(self, what: str, times: int) -> None:
        """Waits until its log has said something so often."""
        deadline = time.monotonic() + PATIENCE
        while self.log.read_text().count(what) < times:
            assert time.monotonic() < deadline, self.log.read_text()
            time.sleep(0.02)

    def stop(self) -> None:
        if self.process is None:
            return
        with self.process:
            self.process.send_signal(signal.SIGTERM)
            assert self.process.wait(PATIENCE) == 0, self.log.read_text()
