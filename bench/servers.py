"""How a server under measurement is started and ended: on one CPU, in a folder of its own."""

from __future__ import annotations

import contextlib
import os
import shutil
import signal
import socket
import subprocess
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

from measure import free_port, pinned

HERE = Path(__file__).resolve().parent
TREE = HERE.parent
SITES = HERE / "sites"


@dataclass
class Server:
    """A running server: its address and the processes whose CPU counts as its own."""

    address: str
    folder: Path
    processes: list[subprocess.Popen] = field(default_factory=list)
    commands: list[str] = field(default_factory=list)

    @property
    def url(self) -> str:
        return f"http://{self.address}"

    @property
    def roots(self) -> list[int]:
        return [process.pid for process in self.processes]


@dataclass
class Tools:
    """Where the programs are that are compared."""

    perijove: Path
    python: Path
    node_modules: Path | None = None

    def script(self, name: str) -> str:
        return str(self.python.parent / name)


def wait_for(address: str | Path, seconds: float = 20) -> None:
    """Until something accepts connections there, and at a port something answers a request.

    A front listens long before what stands behind it can answer.
    """
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        with contextlib.suppress(OSError):
            if isinstance(address, Path):
                with socket.socket(socket.AF_UNIX) as probe:
                    probe.connect(str(address))
                return
            if answers(address, min(5.0, end - time.monotonic())):
                return
        time.sleep(0.02)
    raise TimeoutError(f"nothing answers at {address}")


def answers(address: str, seconds: float) -> bool:
    """Whether a plain request is answered, whatever with."""
    host, _, port = address.rpartition(":")
    with socket.create_connection((host, int(port)), seconds) as probe:
        probe.sendall(f"GET / HTTP/1.1\r\nHost: {address}\r\nConnection: close\r\n\r\n".encode())
        return probe.recv(64).startswith(b"HTTP/1.")


def start(server: Server, command: list[str], *, folder: Path, cpu: int = 0, **options) -> None:
    log = (folder / "log").open("ab")
    server.commands.append(" ".join(str(word) for word in command))
    server.processes.append(
        subprocess.Popen(
            pinned(cpu, command),
            cwd=folder,
            stdout=log,
            stderr=log,
            start_new_session=True,
            **options,
        )
    )


def stop(server: Server) -> None:
    for process in reversed(server.processes):
        with contextlib.suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGTERM)
    for process in server.processes:
        try:
            process.wait(10)
        except subprocess.TimeoutExpired:
            os.killpg(process.pid, signal.SIGKILL)
            process.wait()


@contextlib.contextmanager
def running(make, tools: Tools, folder: Path, **settings) -> Iterator[Server]:
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    server = Server(f"127.0.0.1:{free_port()}", folder)
    try:
        make(server, tools, folder, **settings)
        wait_for(server.address)
        yield server
    except Exception:
        with contextlib.suppress(OSError):
            print((folder / "log").read_text()[-2000:])
        raise
    finally:
        stop(server)
