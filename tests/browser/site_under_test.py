"""A site of `examples/`, served by perijove from a folder of its own: start, kill, stop."""

from __future__ import annotations

import contextlib
import json
import os
import re
import select
import shutil
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Mapping
from contextlib import closing
from http.client import HTTPConnection
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

TREE = Path(__file__).resolve().parents[2]

#: Seconds to wait for what a busy machine may take its time for.
PATIENCE = 90.0


class UnixConnection(HTTPConnection):
    """HTTP to a Unix socket."""

    def __init__(self, path: Path) -> None:
        super().__init__("control", timeout=PATIENCE)
        self.path = path

    def connect(self) -> None:
        self.sock = socket.socket(socket.AF_UNIX)
        self.sock.settimeout(self.timeout)
        self.sock.connect(str(self.path))


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

    def set(self, notebook: str) -> None:
        """Adds settings to the table [notebook] of the site's configuration."""
        with (self.root / "perijove.toml").open("a") as file:
            file.write(f"\n{notebook}\n")

    def home(self, user: str) -> Path:
        """The folder of a user of the demo site."""
        return self.root / "var/notebooks" / user

    def furnish(self, user: str, files: Mapping[str, str]) -> None:
        """Puts files into the folder of a user's, as the user would."""
        for name, text in files.items():
            path = self.home(user) / name
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(text)

    def launch(self, notebook: str, context: Mapping[str, Any]) -> Any:
        """Starts a notebook, or joins it, as the site's own views do."""
        body = {"settings": {"folder": str(self.root / "var/notebooks")}, **context}
        return self.ask("POST", f"/notebooks/{notebook}", body)

    def ask(self, method: str, path: str, body: Any = None) -> Any:
        """A request on the control socket."""
        with closing(UnixConnection(self.folder / "run/control.sock")) as control:
            text = json.dumps(body) if body is not None else None
            control.request(method, path, text, self._proof())
            answer = control.getresponse()
            told = json.loads(answer.read())
        assert answer.status in (200, 202), told
        return told

    def notebook(self, name: str) -> Any:
        """What perijove tells of a notebook."""
        return self.ask("GET", f"/notebooks/{name}")

    def wait(self, name: str, is_so: Callable[[Any], bool], seconds: float = PATIENCE) -> Any:
        """What it tells once that is so."""
        deadline = time.monotonic() + seconds
        while not is_so(entry := self.notebook(name)):
            assert time.monotonic() < deadline, entry
            select.select([], [], [], 0.2)
        return entry

    def _proof(self) -> dict[str, str]:
        secret = (self.folder / "run/control.sock.secret").read_text().strip()
        return {"Authorization": f"Bearer {secret}"}

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
