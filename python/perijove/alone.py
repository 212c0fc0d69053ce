"""Notebooks for a site that perijove does not serve: on a developer's own machine.

Under `pserve`, `runserver` or `flask run` there is nobody in front of the site. The first launch
starts `perijove serve` for notebooks alone, on a loopback address of its own, and the browser is
sent there with a ticket. It goes on for some minutes after the last site that uses it has ended, so
that a server that restarts itself at each change of a file finds its notebooks again.
"""

from __future__ import annotations

import fcntl
import hashlib
import json
import os
import shutil
import stat
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import urlsplit

from .control import SOCKET_VARIABLE, Control, NotServed, Unreachable

__all__ = ["Hub", "is_alone", "join"]

#: How long the first start may take, in seconds.
PATIENCE = 30.0

#: Modules that only servers have that run sites for the public, and what they are called.
SERVERS = {"gunicorn": "gunicorn", "uwsgi": "uWSGI", "mod_wsgi": "mod_wsgi"}

#: Held as long as this process lives: by it the hub knows that somebody still needs it.
_held: dict[Path, int] = {}
_lock = threading.Lock()


@dataclass(frozen=True)
class Hub:
    """A perijove that serves notebooks alone, for this site."""

    folder: Path
    socket: Path

    @property
    def control(self) -> Control:
        """Its control socket."""
        return Control(self.socket)

    def address(self, url: str, origin: str) -> str:
        """The whole address of one of its paths, for a browser that reached the site at `origin`.

        It goes by another name of this machine than the site: cookies know no ports, and those of
        the site are no business of a notebook's.
        """
        if not url.startswith("/"):
            return url
        port = urlsplit((self.folder / "address").read_text("ascii").strip()).port
        name = "127.0.0.1" if urlsplit(origin).hostname == "localhost" else "localhost"
        return f"http://{name}:{port}{url}"


def is_alone() -> bool:
    """Whether this process does not run under perijove."""
    return not os.environ.get(SOCKET_VARIABLE)


def join(origin: str, *, starts: bool = True) -> Hub | None:
    """The hub of this site, started when there is none; None when it would have to be and may not.

    Raises `NotServed` where a hub of this process's own would be wrong: behind a server that is
    reached from beyond this machine, or that has many processes. `origin` is the site's, as the
    browser names it.
    """
    _refuse_public(origin)
    folder = _folder("cache")
    socket = _folder("run") / "control.sock"
    hub = Hub(folder, socket)
    with _lock, _one_at_a_time(folder):
        if not starts and not _answers(hub):
            return None
        _hold(folder)
        if not _answers(hub):
            _start(hub)
        return hub


def _refuse_public(origin: str) -> None:
    name = next((SERVERS[module] for module in SERVERS if module in sys.modules), "")
    workers = os.environ.get("WEB_CONCURRENCY", "1")
    host = urlsplit(origin).hostname or ""
    is_here = host in ("localhost", "::1") or host.startswith("127.") or host.endswith(".localhost")
    if name:
        reason = f"this process runs under {name}, and no perijove is in front of it"
    elif workers.isdigit() and int(workers) > 1:
        reason = f"this site has {workers} worker processes, and no perijove is in front of it"
    elif not is_here:
        reason = f"this site is reached as `{origin}`, and no perijove is in front of it"
    else:
        return
    raise NotServed(
        f"{reason} (`{SOCKET_VARIABLE}` is not set)",
        "start the site with `perijove serve`, which also runs it under gunicorn, uWSGI or "
        "mod_wsgi (`site.server` in perijove.toml); only on your own machine, at localhost, do "
        "notebooks work without",
    )


def _folder(kind: str) -> Path:
    """A folder of this account alone, another for each environment and each current folder."""
    place = f"{sys.prefix}\0{os.getcwd()}"
    key = hashlib.sha256(place.encode("utf-8", "surrogateescape")).hexdigest()[:12]
    if kind == "run":
        # Names of sockets are short.
        short = f"/tmp/perijove-{os.geteuid()}"  # noqa: S108 - its owner is looked at below
        above = Path(os.environ.get("XDG_RUNTIME_DIR") or short)
        folder = above / f"alone-{key}"
    else:
        above = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "perijove"
        folder = above / f"alone-{key}"
    for path in (above, folder):
        path.mkdir(mode=0o700, parents=True, exist_ok=True)
    found = folder.lstat()
    is_ours = stat.S_ISDIR(found.st_mode) and found.st_uid == os.geteuid()
    if not is_ours or above.lstat().st_uid not in (os.geteuid(), 0):
        raise NotServed(f"`{folder}` belongs to somebody else", "remove it, or ask its owner to")
    folder.chmod(0o700)
    return folder


@contextmanager
def _one_at_a_time(folder: Path) -> Iterator[None]:
    descriptor = os.open(folder / "start.lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX)
        yield
    finally:
        os.close(descriptor)


def _hold(folder: Path) -> None:
    if folder not in _held:
        descriptor = os.open(folder / "needed.lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        fcntl.flock(descriptor, fcntl.LOCK_SH)
        _held[folder] = descriptor


def _answers(hub: Hub) -> bool:
    if not (hub.folder / "address").exists():
        return False
    try:
        hub.control.list()
    except (Unreachable, NotServed):
        return False
    return True


def _start(hub: Hub) -> None:
    command = _command()
    (hub.folder / "address").unlink(missing_ok=True)
    config = hub.folder / "perijove.toml"
    lines = [
        'listen = ["127.0.0.1:0"]',
        f"state-folder = {json.dumps(str(hub.folder / 'state'))}",
        f"runtime-folder = {json.dumps(str(hub.socket.parent))}",
        "",
        "[notebook]",
        'authority = "ticket"',
        f"python = {json.dumps(sys.executable)}",
    ]
    config.write_text("\n".join(lines) + "\n", "utf-8")
    keeper = Path(__file__).with_name("lingering.py")
    log = hub.folder / "log"
    with log.open("wb") as output:
        log.chmod(0o600)
        process = subprocess.Popen(
            [sys.executable, "-I", keeper, command, config, hub.folder],
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=output,
            start_new_session=True,
        )
    # Nobody waits for it: it outlives this process, and a child that ended is reaped here.
    threading.Thread(target=process.wait, daemon=True).start()
    deadline = time.monotonic() + PATIENCE
    while not _answers(hub):
        if process.poll() is not None or time.monotonic() > deadline:
            told = log.read_text("utf-8", "replace").strip()[-2000:]
            raise NotServed(f"a perijove for notebooks alone did not start: {told}", f"see `{log}`")
        time.sleep(0.05)


def _command() -> str:
    """The command of this environment, else the one on the path."""
    beside = Path(sys.executable).with_name("perijove")
    found = str(beside) if beside.exists() else shutil.which("perijove")
    if not found:
        raise NotServed(
            "the command `perijove` is neither in this environment nor on the path",
            "install perijove into the environment of the site",
        )
    return found
