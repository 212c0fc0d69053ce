"""Starts, finds and stops users' notebooks where no perijove runs: a daemon and a port each."""

from __future__ import annotations

import contextlib
import copy
import fcntl
import os
import random
import re
import socket
import subprocess
import sys
from collections.abc import Iterator
from typing import Any

from .server import comm
from .server.notebook_daemon import PORT_TAKEN
from .utils import make_dict_hash

#: How often another port is tried when somebody was faster.
TRIES = 5

#: How long the command of a daemon may take, in seconds: a start, or a stop that waits for kernels.
PATIENCE = 120.0


class NotebookManager:
    """One folder for each user below `notebook_folder`; the daemon's files lie in it.

    Notebooks listen on this machine alone and ask for a token; `pyramid_notebook.proxy` shows it.
    Other than under perijove all of them run as this account: users can reach each other's files.
    """

    def __init__(
        self,
        notebook_folder: str | os.PathLike[str],
        min_port: int = 40000,
        port_range: int = 10,
        kill_timeout: int = 50,
        python: str | None = None,
    ) -> None:
        """Notebooks end `kill_timeout` seconds after their start (0: never); each has one of
        `port_range` ports from `min_port` on.
        """
        self.notebook_folder = comm.make_private(os.path.abspath(notebook_folder))
        self.min_port = min_port
        self.port_range = port_range
        self.kill_timeout = kill_timeout
        self.python = python or self.discover_python()

    def discover_python(self) -> str:
        """The Python that runs notebooks: this one, also inside uWSGI."""
        if os.path.basename(sys.executable) == "uwsgi":
            return os.path.join(os.path.dirname(sys.executable), "python")
        return sys.executable

    def get_work_folder(self, name: str) -> str:
        """The user's folder, made if it is not there."""
        folder = self._folder(name)
        comm.make_private(folder)
        # What the original has made is open to everybody.
        os.chmod(folder, 0o700)
        return folder

    def get_log_file(self, name: str) -> str:
        """A path that nothing writes to; what a notebook prints is in `notebook.stderr.log`."""
        return os.path.join(self._folder(name), "ipython.log")

    def get_pid(self, name: str) -> str:
        """The file with the daemon's number in it."""
        return os.path.join(self._folder(name), "notebook.pid")

    def get_context(self, name: str) -> dict[str, Any] | None:
        """What the user's notebook runs with; None when it does not run."""
        return comm.get_context(self.get_pid(name))

    def get_notebook_status(self, name: str) -> dict[str, Any] | None:
        """The same: a context says which process and port a notebook has."""
        return self.get_context(name)

    def get_manager_cmd(self) -> str:
        """The daemon's command."""
        here = os.path.dirname(os.path.abspath(__file__))
        return os.path.join(here, "server", "notebook_daemon.py")

    def pick_port(self) -> int:
        """A port of the range that is free now."""
        ports = list(range(self.min_port, self.min_port + self.port_range))
        random.shuffle(ports)
        for port in ports:
            with contextlib.suppress(OSError), socket.socket() as tried:
                tried.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
                tried.bind(("127.0.0.1", port))
                return port
        raise RuntimeError(
            f"all ports from {ports and min(ports)} to {ports and max(ports)} are taken; "
            "hint: stop a notebook, or give `NotebookManager` a larger `port_range`"
        )

    def get_notebook_daemon_command(
        self, name: str, action: str, port: int = 0, *extra: str
    ) -> list[str]:
        """The command for one action upon the user's notebook."""
        return [
            self.python,
            self.get_manager_cmd(),
            action,
            self.get_pid(name),
            self._folder(name),
            str(port),
            str(self.kill_timeout),
            *extra,
        ]

    def exec_notebook_daemon_command(
        self, name: str, cmd: str, port: int = 0, *extra: str
    ) -> bytes:
        """Run one action; what it printed. Raises `RuntimeError` with what it said otherwise."""
        done = self._run(name, cmd, port, *extra)
        if done.returncode or b"already running" in done.stderr:
            raise _failure(cmd, done)
        return done.stdout

    def start_notebook(self, name: str, context: dict[str, Any] | None, fg: bool = False) -> None:
        """Start the user's notebook, and return when it answers; in the foreground when it ends."""
        folder = self.get_work_folder(name)
        context = _checked(context)
        for attempt in range(TRIES):
            port = self.pick_port()
            told = context | {"http_port": port}
            address = context.get("websocket_url") or "ws://localhost:{port}"
            told["websocket_url"] = str(address).replace("{port}", str(port))
            with _locked(folder, "context"):
                if running := self.get_context(name):
                    raise RuntimeError(f"already running with PID {running['pid']}")
                comm.set_context(self.get_pid(name), told)
                if fg:
                    break
                done = self._run(name, "start", port)
            if done.returncode == 0 and b"already running" not in done.stderr:
                return
            # Somebody was faster with that port.
            if done.returncode != PORT_TAKEN or attempt + 1 == TRIES:
                raise _failure("start", done)
        subprocess.run(
            self.get_notebook_daemon_command(name, "fg", port),
            env=_environment(),
            check=True,
        )

    def stop_notebook(self, name: str) -> None:
        """End the user's notebook with its kernels; nothing happens when there is none."""
        done = self._run(name, "stop")
        if done.returncode:
            raise _failure("stop", done)

    def is_running(self, name: str) -> bool:
        """Whether the user's notebook runs."""
        return self.get_notebook_status(name) is not None

    def is_same_context(self, a: dict[str, Any] | None, b: dict[str, Any] | None) -> bool:
        """Whether a notebook with the one context may be joined by a launch with the other."""
        a, b = a or {}, b or {}
        return a == b or a.get("context_hash") == b.get("context_hash")

    def start_notebook_on_demand(
        self, name: str, context: dict[str, Any] | None
    ) -> tuple[dict[str, Any], bool]:
        """Start the user's notebook, or join it; the context it runs with, and whether it is new.

        One that runs with another context is replaced. Of two launches at once the second joins.
        """
        folder, wanted = self.get_work_folder(name), _checked(context)
        with _locked(folder, "launch"):
            running = self.get_context(name)
            if running and self.is_same_context(running, wanted):
                return running, False
            if running:
                self.stop_notebook(name)
            self.start_notebook(name, wanted)
            started = self.get_context(name)
        if started is None or "notebook_name" not in started:
            log = os.path.join(folder, "notebook.stderr.log")
            raise RuntimeError(f"the notebook of `{name}` ended at once; hint: see `{log}`")
        return started, True

    def _folder(self, name: str) -> str:
        """Below the folder for all, whatever the name: each name has one, each one name."""
        from perijove.control import canonical

        if not isinstance(name, str) or len(name) > 128 or re.search(r"[\0-\x1f\x7f]", name):
            raise ValueError(f"`{name!r}` is no user's name")
        is_plain = re.fullmatch(r"[A-Za-z0-9_][A-Za-z0-9_.@+-]*", name)
        return os.path.join(self.notebook_folder, name if is_plain else canonical(name))

    def _run(
        self, name: str, action: str, port: int = 0, *extra: str
    ) -> subprocess.CompletedProcess[bytes]:
        command = self.get_notebook_daemon_command(name, action, port, *extra)
        return subprocess.run(
            command,
            env=_environment(),
            stdin=subprocess.DEVNULL,
            capture_output=True,
            timeout=PATIENCE,
            check=False,
        )


def _checked(context: dict[str, Any] | None) -> dict[str, Any]:
    """A copy with a hash: what is given as it is, or one of the content."""
    if context is not None and not isinstance(context, dict):
        raise TypeError(f"a context is a dict, not `{type(context).__name__}`")
    checked = copy.deepcopy(context or {})
    if "terminated" in checked:
        raise ValueError("the context has the key `terminated`: its notebook has ended")
    if not isinstance(checked.get("extra_template_paths", []), (list, tuple)):
        raise TypeError("`extra_template_paths` is a list of folders")
    if not isinstance(checked.get("context_hash", ""), (int, str)):
        raise TypeError("`context_hash` is a number or a text")
    checked.setdefault("context_hash", make_dict_hash(checked))
    return checked


@contextlib.contextmanager
def _locked(folder: str, name: str) -> Iterator[None]:
    """One launch of one user at a time, in whichever process of the site."""
    ours = comm.make_private(os.path.join(folder, ".perijove"))
    path = os.path.join(ours, f"{name}.lock")
    lock = os.open(path, os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW, 0o600)
    try:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield
    finally:
        os.close(lock)


def _environment() -> dict[str, str]:
    """The daemon finds perijove where this process has it."""
    import perijove

    package = os.path.dirname(os.path.abspath(perijove.__file__))
    return {**os.environ, "PERIJOVE_PACKAGE": package, "PYTHONFAULTHANDLER": "true"}


def _failure(action: str, done: subprocess.CompletedProcess[bytes]) -> RuntimeError:
    said = done.stderr.decode(errors="replace").strip()
    command = " ".join(done.args[:4])
    return RuntimeError(
        f"could not {action} the notebook: `{command}` ended with {done.returncode}\n{said}"
    )
