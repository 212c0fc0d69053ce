"""A site of `examples/`, served by perijove from a folder of its own: start, kill, stop."""

from __future__ import annotations

import contextlib
import os
import re
import select
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path
from urllib.parse import urlsplit

TREE = Path(__file__).resolve().parents[2]

#: Seconds to wait for what a busy machine may take its time for.
PATIENCE = 90.0


class Site:
    """One site and the perijove that serves it, at the same address however often it starts."""

    def __init__(self, folder: Path, command: Path, example: str) -> None:
        self.folder, self.command = folder, command
        self.root = folder / "site"
        unwanted = shutil.ignore_patterns("var", "__pycache__")
        shutil.copytree(TREE / "examples" / example, self.root, ignore=unwanted)
        self.log = folder / "perijove.log"
        self.listen = "127.0.0.1:0"
        self.process: subprocess.Popen[str] | None = None
        self.environment = {
            **{key: os.environ[key] for key in ("PATH", "HOME", "LANG") if key in os.environ},
            "PERIJOVE_STATE_FOLDER": str(folder / "state"),
            "PERIJOVE_RUNTIME_FOLDER": str(folder / "run"),
            "PERIJOVE_SITE__PYTHON": sys.executable,
        }

    @property
    def url(self) -> str:
        return f"http://{self.listen}"

    def start(self) -> Site:
        """Serve, and wait until it says that it is ready."""
        with self.log.open("a") as log:
            self.process = subprocess.Popen(
                [self.command, "serve", "--listen", self.listen],
                cwd=self.root,
                env=self.environment,
                stdout=subprocess.PIPE,
                stderr=log,
                text=True,
            )
        self.listen = urlsplit(self._ready()).netloc
        return self

    def kill(self) -> None:
        """As a crash would: nothing in perijove can do anything about it."""
        assert self.process is not None
        with self.process:
            self.process.send_signal(signal.SIGKILL)
            self.process.wait(PATIENCE)

    def stop(self) -> None:
        """Notebooks first, since they outlive perijove; then perijove."""
        if self.process is None or self.process.poll() is not None:
            return
        self.tell("notebook", "stop", "--all")
        with self.process:
            self.process.send_signal(signal.SIGTERM)
            assert self.process.wait(PATIENCE) == 0, self.last_lines()

    def tell(self, *arguments: str) -> str:
        """Run another command of perijove's beside the serving one."""
        done = subprocess.run(
            [self.command, *arguments],
            cwd=self.root,
            env=self.environment,
            capture_output=True,
            text=True,
            timeout=PATIENCE,
            check=False,
        )
        assert done.returncode == 0, done.stderr
        return done.stdout

    def strike_off(self, user: str) -> None:
        """Take a user off the site's list, as its operator does."""
        ini = self.root / "production.ini"
        ini.write_text(ini.read_text().replace(f"    {user}\n", ""))

    def leftovers(self) -> list[str]:
        """Processes that still have to do with this site, once it has stopped."""
        deadline = time.monotonic() + 20
        while (found := _processes_in(self.folder)) and time.monotonic() < deadline:
            select.select([], [], [], 0.1)
        return found

    def last_lines(self) -> str:
        return "\n".join(self.log.read_text(errors="replace").splitlines()[-40:])

    def _ready(self) -> str:
        assert self.process is not None
        assert self.process.stdout is not None
        came, _, _ = select.select([self.process.stdout], [], [], PATIENCE)
        line = self.process.stdout.readline() if came else ""
        match = re.fullmatch(r"ready: (http://\S+)\n", line)
        assert match is not None, f"not ready: {line!r}\n{self.last_lines()}"
        return match[1]


def _processes_in(folder: Path) -> list[str]:
    """Those started from this folder, or working in it."""
    found = []
    for process in Path("/proc").glob("[0-9]*"):
        with contextlib.suppress(OSError):
            words = (process / "cmdline").read_bytes().decode(errors="replace").split("\0")
            place = str((process / "cwd").readlink())
            if str(folder) in " ".join([place, *words]):
                found.append(f"{process.name}: {' '.join(words)} (in {place})")
    return found
