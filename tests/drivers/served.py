"""A site served by perijove under a driver: start, ask, signal, stop."""

from __future__ import annotations

import http.client
import json
import os
import select
import shutil
import signal
import socket
import subprocess
import tempfile
import time
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from table import Column

TREE = Path(__file__).resolve().parents[2]

#: Seconds to wait for what a busy machine may take its time for.
PATIENCE = 60.0

#: The client that the requests say they are for; perijove is told to believe it.
CLIENT = {
    "Host": "shop.example:8443",
    "X-Forwarded-For": "203.0.113.7",
    "X-Forwarded-Proto": "https",
}


class Served:
    """One site under one driver."""

    def __init__(
        self, place: Path, parts: tuple[Path, Path], column: Column, starts: bool = True
    ) -> None:
        self.folder = Path(tempfile.mkdtemp(dir=place))
        self.folder.chmod(0o755)
        self.column = column
        self.root = self.folder / "site"
        shutil.copytree(Path(__file__).parent / "site", self.root)
        self.signs = self.folder / "signs"
        self.signs.mkdir()
        # The application may run as another account.
        self.signs.chmod(0o777)
        self.log = self.folder / "log"
        self.app = f"{column.interface}_app:application"
        self.server = column.server
        #: TOML, for the driver of that name.
        self.command = ""
        python, package = parts
        self.environment = {
            "PATH": os.environ["PATH"],
            "LANG": "C.UTF-8",
            "SIGNS": str(self.signs),
            "PERIJOVE_PACKAGE": str(package),
            "PERIJOVE_STATE_FOLDER": str(self.folder / "state"),
            "PERIJOVE_RUNTIME_FOLDER": str(self.folder / "run"),
            "PERIJOVE_SITE__PYTHON": str(python),
        }
        self.process: subprocess.Popen[bytes] | None = None
        #: Whether it brings its own configuration.
        self.is_configured = False
        self._starts = starts

    def __enter__(self) -> Served:
        if self._starts:
            self.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.stop()
        shutil.rmtree(self.folder)

    def start(self) -> None:
        """Serves, and waits until it says that it is ready."""
        self.begin()
        self.ready()

    def ready(self) -> None:
        """Waits until it says that it is ready."""
        process = self.process
        assert process is not None
        assert process.stdout is not None
        within, _, _ = select.select([process.stdout], [], [], PATIENCE)
        line = process.stdout.readline().decode() if within else ""
        assert line.startswith("ready: "), self.logged()
        self.address = urlsplit(line.split()[1]).netloc

    def configure(self, server: str) -> None:
        """Writes the configuration; what is empty is left to perijove to find out."""
        lines = [
            'listen = ["127.0.0.1:0"]',
            'trusted-proxies = ["127.0.0.1"]',
            "[site]",
            f"server-arguments = {json.dumps(list(self.column.arguments))}",
            "threads = 2",
            f'app = "{self.app}"' if self.app else "",
            f'server = "{server}"' if server else "",
            f"command = {self.command}" if self.command else "",
            # A command is one process, and may run more.
            "" if self.command or not server else "workers = 2",
        ]
        (self.root / "perijove.toml").write_text("\n".join(lines) + "\n")

    def reload(self) -> None:
        assert self.process is not None
        self.process.send_signal(signal.SIGHUP)

    def begin(self) -> subprocess.Popen[bytes]:
        if self.process is not None and self.process.stdout is not None:
            self.process.stdout.close()
        if not self.is_configured:
            self.configure(self.server)
        command = Path(os.environ.get("PERIJOVE_COMMAND", TREE / "target/release/perijove"))
        with self.log.open("ab") as log:
            self.process = subprocess.Popen(
                [command, "serve"],
                cwd=self.root,
                env=self.environment,
                stdout=subprocess.PIPE,
                stderr=log,
            )
        return self.process

    def end(self) -> int:
        """Asks it to stop, and waits until it has."""
        assert self.process is not None
        if self.process.poll() is None:
            self.process.send_signal(signal.SIGTERM)
        return self.process.wait(PATIENCE)

    def stop(self) -> None:
        if self.process is None:
            return
        if self.process.poll() is None:
            # Twice means now.
            self.process.send_signal(signal.SIGTERM)
            self.process.send_signal(signal.SIGTERM)
        try:
            self.process.wait(PATIENCE)
        finally:
            self.process.kill()
            if self.process.stdout is not None:
                self.process.stdout.close()
        until(lambda: not self.left())

    def left(self) -> list[int]:
        """Processes of the site's that still run."""
        mine = f"SIGNS={self.signs}\0".encode()
        found = []
        for entry in Path("/proc").iterdir():
            if entry.name.isdigit():
                try:
                    if mine in (entry / "environ").read_bytes():
                        found.append(int(entry.name))
                except OSError:
                    pass
        return found

    def connect(self) -> http.client.HTTPConnection:
        host, port = self.address.rsplit(":", 1)
        return http.client.HTTPConnection(host, int(port), timeout=PATIENCE)

    def socket(self) -> socket.socket:
        host, port = self.address.rsplit(":", 1)
        return socket.create_connection((host, int(port)), PATIENCE)

    def ask(self, path: str, method: str = "GET", body: Any = None, **fields: str) -> Answer:
        connection = self.connect()
        try:
            named = {name.replace("_", "-"): value for name, value in fields.items()}
            connection.request(method, path, body, named, encode_chunked=body is not None)
            response = connection.getresponse()
            return Answer(response.status, response.headers, response.read())
        finally:
            connection.close()

    def sign(self, name: str) -> None:
        """Lets the application go on."""
        (self.signs / name).touch()

    def seen(self, name: str) -> None:
        """Waits for a sign of the application's."""
        until((self.signs / name).exists)

    def logged(self) -> str:
        return self.log.read_text(errors="replace")

    def told(self, line: str) -> str:
        """Waits for a line in the log that holds this."""
        lines: list[str] = []

        def is_there() -> bool:
            lines[:] = [found for found in self.logged().splitlines() if line in found]
            return bool(lines)

        until(is_there)
        return lines[0]


class Answer:
    """A whole answer."""

    def __init__(self, status: int, fields: Any, body: bytes) -> None:
        self.status, self.fields, self.body = status, fields, body

    def json(self) -> Any:
        assert self.status == 200, (self.status, self.body[:500])
        return json.loads(self.body)


def until(is_so: Any) -> None:
    deadline = time.monotonic() + PATIENCE
    while not is_so():
        assert time.monotonic() < deadline, "not in time"
        time.sleep(0.02)
