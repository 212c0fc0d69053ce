"""The perijove that is disturbed: its processes, its disk, and each way to disturb it."""

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
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

TREE = Path(__file__).resolve().parents[2]
COMMAND = TREE / "target/release/perijove"

#: Seconds that any one thing may take before it counts as a failure. The machine may be busy.
PATIENCE = 90.0

#: Bytes of the disk that holds state, logs and users' folders.
DISK = 192 << 20

SETTINGS = """\
state-folder = "{disk}/state"
runtime-folder = "{folder}/run"

[site]
app = "production.ini"
python = "{python}"
workers = 2

[log]
access-file = "{disk}/access.log"
audit = "{disk}/audit.log"

[limits]
drain-time = "5s"

[notebook]
folder = "{disk}/folders"
path = "/notebook/"
site-paths = ["shutdown"]
max-notebooks = 40
kill-timeout = "1h"
warm = true
limits = {{ memory = "{memory}" }}
"""
MEMORY = 700 << 20


class Served:
    """A site under perijove, at the same address however often it is started."""

    def __init__(self, folder: Path, disk: Path) -> None:
        self.folder, self.disk = folder, disk
        self.root = folder / "site"
        shutil.copytree(Path(__file__).parent / "site", self.root)
        settings = SETTINGS.format(
            disk=disk, folder=folder, python=sys.executable, memory=f"{MEMORY >> 20}M"
        )
        (self.root / "perijove.toml").write_text(settings)
        self.environment = {key: os.environ[key] for key in ("PATH", "LANG") if key in os.environ}
        self.environment["HOME"] = str(folder)
        self.environment["PERIJOVE_PACKAGE"] = str(TREE / "python/perijove")
        self.listen = "127.0.0.1:0"
        self.log = folder / "perijove.log"
        #: Those that were started and whose end was not waited for yet.
        self.children: list[subprocess.Popen[str]] = []
        #: Held while the program is exchanged: whoever asks it something waits.
        self.exchange = threading.Lock()

    @property
    def url(self) -> str:
        return f"http://{self.listen}"

    # --- its life

    def start(self) -> None:
        with self.log.open("a") as log:
            child = subprocess.Popen(
                [COMMAND, "serve", "--listen", self.listen],
                cwd=self.root,
                env=self.environment,
                stdout=subprocess.PIPE,
                stderr=log,
                text=True,
            )
        self.children.append(child)
        assert child.stdout is not None
        came, _, _ = select.select([child.stdout], [], [], PATIENCE)
        line = child.stdout.readline() if came else ""
        ready = re.fullmatch(r"ready: (http://\S+)\n", line)
        if ready is None:
            raise AssertionError(f"perijove does not start: {line!r}\n{self.last_lines()}")
        self.listen = urlsplit(ready[1]).netloc

    def tell(self, *arguments: str) -> str:
        """Another command of perijove's beside the serving one."""
        done = subprocess.run(
            [COMMAND, *arguments],
            cwd=self.root,
            env=self.environment,
            capture_output=True,
            text=True,
            timeout=PATIENCE,
        )
        if done.returncode != 0:
            raise AssertionError(f"`perijove {' '.join(arguments)}`: {done.stderr}")
        return done.stdout

    def status(self) -> dict[str, Any]:
        return json.loads(self.tell("status", "--json"))

    def notebooks(self) -> dict[str, dict[str, Any]]:
        told = json.loads(self.tell("notebook", "list", "--json"))
        return {entry["user"]: entry for entry in told}

    def server_of(self, user: str) -> int | None:
        """The process of a user's notebook that answers; a guardian holds it."""
        entry = self.notebooks().get(user, {})
        for path in self.disk.glob("state/notebooks/*/status.json"):
            note = json.loads(path.read_text())
            if note["guardian"]["pid"] == entry.get("pid"):
                server: int | None = note["server"]
                return server
        return None

    @property
    def process(self) -> int:
        return int(self.status()["process"])

    def last_lines(self) -> str:
        return "\n".join(self.log.read_text(errors="replace").splitlines()[-40:])

    def stop(self) -> None:
        self.tell("notebook", "stop", "--all")
        process = self.process
        os.kill(process, signal.SIGTERM)
        await_end(process)
        self._wait_for_children()

    def _wait_for_children(self) -> None:
        for child in self.children:
            with child:
                child.wait(PATIENCE)
        self.children.clear()

    # --- what disturbs it

    def kill_and_start(self) -> None:
        """As a power cut would end it."""
        process = self.process
        os.kill(process, signal.SIGKILL)
        await_end(process)
        self._end_left_over()
        self.start()

    def restart(self) -> None:
        process = self.process
        os.kill(process, signal.SIGTERM)
        await_end(process)
        self._end_left_over()
        self.start()

    def upgrade(self) -> None:
        self.tell("upgrade")

    def reload(self) -> None:
        self.tell("reload")

    def kill_workers(self) -> None:
        for worker in self.status()["application"]["workers"]:
            kill(worker["pid"])

    def kill_zygote(self) -> bool:
        pid = self.zygote()
        return pid is not None and kill(pid)

    def zygote(self) -> int | None:
        pid: int | None = self.ask_control("/starts")["pid"]
        return pid

    def ask_control(self, path: str) -> Any:
        place = self.folder / "run/control.sock"
        secret = place.with_name("control.sock.secret").read_text().strip()
        with socket.socket(socket.AF_UNIX) as stream:
            stream.settimeout(PATIENCE)
            stream.connect(str(place))
            head = f"GET {path} HTTP/1.0\r\nHost: x\r\nAuthorization: Bearer {secret}\r\n\r\n"
            stream.sendall(head.encode())
            with stream.makefile("rb") as answer:
                return json.loads(answer.read().partition(b"\r\n\r\n")[2])

    @contextlib.contextmanager
    def full_disk(self) -> Iterator[None]:
        filler = self.disk / "filler"
        with filler.open("wb", buffering=0) as file:
            # Large pieces first, so that the last byte is reached.
            for size in (1 << 20, 4096, 1):
                with contextlib.suppress(OSError):
                    while file.write(b"x" * size):
                        pass
        try:
            yield
        finally:
            filler.unlink()

    def _end_left_over(self) -> None:
        """One that was replaced may still finish what was under way: that ends, too."""
        for child in self.children:
            if child.poll() is None:
                child.kill()
        self._wait_for_children()
        for process in Path("/proc").glob("[0-9]*"):
            with contextlib.suppress(OSError):
                words = (process / "cmdline").read_bytes().split(b"\0")
                if words[1:2] == [b"serve"] and (process / "cwd").readlink() == self.root:
                    kill(int(process.name))
                    await_end(int(process.name))


def kill(process: int) -> bool:
    """Whether it was there."""
    try:
        os.kill(process, signal.SIGKILL)
    except ProcessLookupError:
        return False
    return True


def await_end(process: int) -> None:
    deadline = time.monotonic() + PATIENCE
    while is_running(process):
        if time.monotonic() > deadline:
            raise AssertionError(f"process {process} does not end")
        time.sleep(0.02)


def is_running(process: int) -> bool:
    try:
        stat = Path(f"/proc/{process}/stat").read_text()
    except OSError:
        return False
    return not stat.rpartition(")")[2].startswith(" Z")


def processes_in(folder: Path) -> list[str]:
    """Those that were started from this folder, or work in it."""
    found = []
    for process in Path("/proc").glob("[0-9]*"):
        with contextlib.suppress(OSError):
            words = (process / "cmdline").read_bytes().decode(errors="replace").split("\0")
            place = str((process / "cwd").readlink())
            if words[0] and is_running(int(process.name)) and place.startswith(str(folder)):
                found.append(f"{process.name}: {' '.join(words)} (in {place})")
    return found
