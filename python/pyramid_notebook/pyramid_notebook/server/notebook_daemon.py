"""Starts and stops one user's notebook where no perijove runs, from the command line.

The notebook server listens on a port of this machine alone, which is bound here and handed over,
so that nothing else can come to stand there; it asks for a token. This process holds it: it notes
down who runs, ends it in time, and leaves nothing of it behind.
"""

from __future__ import annotations

import contextlib
import ctypes
import fcntl
import http.client
import json
import os
import re
import secrets
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from hashlib import sha256
from types import FrameType
from typing import Any, NoReturn

HERE = os.path.dirname(os.path.abspath(__file__))
if __name__ == "__main__":
    # Run as a file: what lies beside it is no module of everybody's.
    sys.path[:] = [path for path in sys.path if os.path.abspath(path or ".") != HERE]
    sys.path.insert(0, os.path.dirname(os.path.dirname(HERE)))

from pyramid_notebook.server import comm  # noqa: E402 (found by the lines before)
from pyramid_notebook.utils import make_dict_hash  # noqa: E402

USAGE = """\
usage: notebook_daemon.py start|restart|fg PID_FILE WORK_FOLDER PORT KILL_TIMEOUT [ARGUMENT...]
       notebook_daemon.py stop|status PID_FILE
"""

#: The exit status at the end of the kill timeout.
TIMED_OUT = 66

#: The exit status when the port is taken.
PORT_TAKEN = 69

#: How long a server may take until it answers, and until it has ended its kernels, in seconds.
START_TIME, STOP_TIME = 90.0, 10.0

Tell = Callable[[str], None]


class Stop(BaseException):
    """The notebook is to end now, and this process with that status."""

    def __init__(self, status: int) -> None:
        self.status = status


class Failure(Exception):
    """The notebook cannot be started; `status` is what this process ends with."""

    def __init__(self, reason: str, status: int = 2) -> None:
        super().__init__(reason)
        self.status = status


def main(arguments: list[str]) -> int:
    verbs: dict[str, Callable[..., int]] = {
        "start": start,
        "restart": restart,
        "fg": foreground,
        "stop": stop,
        "status": status,
    }
    verb = verbs.get(arguments[0]) if arguments else None
    if verb is None or len(arguments) < (2 if verb in (stop, status) else 5):
        print(USAGE, end="", file=sys.stderr)
        return 1
    try:
        return verb(*arguments[1:])
    except (Failure, RuntimeError) as failure:
        print(f"FAILED: {failure}", file=sys.stderr)
        return getattr(failure, "status", 2)


def start(pid_file: str, folder: str, port: str, kill_timeout: str, *arguments: str) -> int:
    """Returns once the notebook answers, or has said why it does not."""
    if context := comm.get_context(pid_file):
        print(f"already running with PID {context['pid']}", file=sys.stderr)
        return 0
    if comm.get_context(pid_file, daemon=True) is None:
        raise Failure(f"there is no context in {comm.get_context_file_name(pid_file)}")
    print("Starting notebook_daemon.py ... ", end="", flush=True)
    reader, writer = os.pipe()
    if os.fork() == 0:
        os.setsid()
        if os.fork():
            os._exit(0)
        os.close(reader)
        _be_daemon(writer, pid_file, folder, int(port), int(kill_timeout), arguments)
    os.close(writer)
    os.wait()
    with os.fdopen(reader, encoding="utf-8") as told:
        code, _, reason = told.read().partition(" ")
    if code != "0":
        print("FAILED", flush=True)
        reason = reason or "the daemon was killed"
        raise Failure(f"{reason}\n{_last_lines(folder)}".rstrip(), int(code or 2))
    print("OK")
    return 0


def restart(pid_file: str, folder: str, port: str, kill_timeout: str, *arguments: str) -> int:
    stop(pid_file)
    return start(pid_file, folder, port, kill_timeout, *arguments)


def foreground(pid_file: str, folder: str, port: str, kill_timeout: str, *arguments: str) -> int:
    """The same without leaving the terminal; without a context it is a plain notebook."""
    if context := comm.get_context(pid_file):
        print(f"already running with PID {context['pid']}", file=sys.stderr)
        return 1
    return hold(pid_file, folder, int(port), int(kill_timeout), arguments, _say_where)


def stop(pid_file: str, *_: str) -> int:
    """Ends what runs, and only that: a process that merely has its number is left alone."""
    context = comm.get_context(pid_file)
    if context is None:
        print("not running", file=sys.stderr)
        return 0
    pid = context["pid"]
    # What the daemon itself needs to end what it holds comes on top.
    for number, patience in ((signal.SIGTERM, STOP_TIME + 5), (signal.SIGKILL, 5.0)):
        with contextlib.suppress(ProcessLookupError):
            os.kill(pid, number)
        deadline = time.monotonic() + patience
        while comm.is_alive(context):
            if time.monotonic() > deadline:
                break
            time.sleep(0.02)
        else:
            _remove(pid_file)
            print("Stopping notebook_daemon.py ... OK")
            return 0
    raise Failure(f"the process {pid} does not end")


def status(pid_file: str, *_: str) -> int:
    context = comm.get_context(pid_file)
    if context is None:
        print("notebook_daemon.py -- not running")
        return 1
    print(f"notebook_daemon.py -- pid: {context['pid']}, port: {context.get('http_port')}, running")
    return 0


def hold(
    pid_file: str, folder: str, port: int, kill_timeout: int, arguments: Any, tell: Tell
) -> int:
    """Runs the notebook until it ends, or is to end; returns the status for this process."""
    os.umask(0o077)
    pid_file, folder = os.path.abspath(pid_file), os.path.abspath(folder)
    comm.make_private(folder)
    os.chmod(folder, 0o700)
    with _alone(folder), _listener(port) as listener:
        context = _prepare(pid_file, folder, listener.getsockname()[1], kill_timeout)
        token = secrets.token_hex(32)
        noted = {key: context[key] for key in ("pid", "pid_started")} | {"token": token}
        secret = comm.token_file(context["http_port"])
        _adopt_orphans()
        server = None
        try:
            _stop_on_signals(kill_timeout)
            comm.write_private(secret, json.dumps(noted).encode())
            server = _spawn(listener, folder, context, token, arguments)
            _wait_until_ready(server, context, token)
            tell("0 ")
            return server.wait()
        except Stop as ending:
            return ending.status
        finally:
            for number in (signal.SIGALRM, signal.SIGTERM, signal.SIGINT, signal.SIGHUP):
                signal.signal(number, signal.SIG_IGN)
            _end(server)
            for path in (pid_file, secret):
                _remove(path)


def _be_daemon(
    writer: int, pid_file: str, folder: str, port: int, kill_timeout: int, arguments: Any
) -> NoReturn:
    """Goes on without its starter, which hears by `writer` how it went."""
    code = 2
    with os.fdopen(writer, "w", encoding="utf-8") as told:

        def tell(text: str) -> None:
            told.write(text)
            told.close()

        try:
            os.umask(0o077)
            os.chdir(folder)
            os.dup2(os.open(os.devnull, os.O_RDONLY), 0)
            for number, name in ((1, "stdout"), (2, "stderr")):
                flags = os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_APPEND | os.O_NOFOLLOW
                log = os.open(f"notebook.{name}.log", flags, 0o600)
                os.fchmod(log, 0o600)
                os.dup2(log, number)
            code = hold(pid_file, folder, port, kill_timeout, arguments, tell)
        except Exception as error:
            code = getattr(error, "status", 2)
            print(error, file=sys.stderr, flush=True)
            if not told.closed:
                tell(f"{code} {error}")
    os._exit(code)


def _say_where(_: str) -> None:
    print("the notebook runs; end it with Ctrl-C", file=sys.stderr, flush=True)


def _stop_on_signals(kill_timeout: int) -> None:
    def ending(status: int) -> Callable[[int, FrameType | None], None]:
        def end(*_: Any) -> None:
            raise Stop(status)

        return end

    signal.signal(signal.SIGALRM, ending(TIMED_OUT))
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, ending(0))
    # From the start, whatever happens; 0 is never.
    signal.alarm(kill_timeout)


@contextlib.contextmanager
def _alone(folder: str) -> Iterator[None]:
    """One daemon for one folder: whoever comes second is told."""
    ours = comm.make_private(os.path.join(folder, ".perijove"))
    lock = os.open(os.path.join(ours, "daemon.lock"), os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW, 0o600)
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        yield
    except BlockingIOError:
        raise Failure(f"a notebook is already running in {folder}") from None
    finally:
        os.close(lock)


@contextlib.contextmanager
def _listener(port: int) -> Iterator[socket.socket]:
    """The port, taken for good: nobody else on this machine can listen there until we end."""
    with socket.socket() as listener:
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            listener.bind(("127.0.0.1", port))
            listener.listen(128)
        except (OSError, OverflowError) as error:
            reason = getattr(error, "strerror", None) or error
            raise Failure(f"port {port} cannot be used ({reason})", PORT_TAKEN) from error
        yield listener


def _prepare(pid_file: str, folder: str, port: int, kill_timeout: int) -> dict[str, Any]:
    """What the notebook starts with, on the disk; the context as it is from now on."""
    context = comm.get_context(pid_file, daemon=True) or {}
    if "terminated" in context:
        raise Failure("Bad context: it belongs to a notebook that was terminated")
    startup = os.path.join(folder, ".jupyter", "profile_default", "startup")
    os.makedirs(startup, mode=0o700, exist_ok=True)
    script = str(context.get("startup") or "")
    comm.write_private(os.path.join(startup, "startup.py"), script.encode())
    context.update(
        http_port=port,
        kill_timeout=kill_timeout,
        notebook_name=first_notebook(folder, context),
        pid=os.getpid(),
        pid_started=comm.started(os.getpid()),
    )
    comm.write_private(pid_file, f"{os.getpid()}\n".encode())
    comm.set_context(pid_file, context)
    return context


def first_notebook(folder: str, context: dict[str, Any]) -> str:
    """The file of this context, made unless it is there: what a user has done with it is theirs.

    When the greeting of a context has changed, the new one stands in a file of its own.
    """
    given = context.get("context_hash")
    chosen = str(abs(given) if isinstance(given, int) else given or make_dict_hash(context))
    if not re.fullmatch(r"[\w-]{1,64}", chosen, re.ASCII):
        chosen = sha256(chosen.encode()).hexdigest()[:16]
    greeting = str(context.get("greeting") or "").strip()
    mark = sha256(greeting.encode()).hexdigest()[:8]
    for name in (f"default-{chosen}.ipynb", f"default-{chosen}-{mark}.ipynb"):
        path = os.path.join(folder, name)
        try:
            with open(path, encoding="utf-8") as file:
                made_with = json.load(file)["metadata"].get("perijove", {}).get("greeting", mark)
        except FileNotFoundError:
            comm.write_private(path, json.dumps(_notebook(greeting, mark), indent=1).encode())
            return name
        except (OSError, ValueError, LookupError, AttributeError, TypeError):
            return name  # whatever the user has made of it
        if made_with == mark:
            return name
    return name


def _notebook(greeting: str, mark: str) -> dict[str, Any]:
    note = (
        "This notebook runs beside the site, with what the site has given it. It goes on running "
        "when this page is closed; to end it, choose *File → Shut Down*."
    )
    texts = {"greeting": greeting, "note": note} if greeting else {"note": note}
    cells: list[dict[str, Any]] = [
        {"cell_type": "markdown", "id": key, "metadata": {}, "source": text}
        for key, text in texts.items()
    ]
    empty: dict[str, Any] = {"execution_count": None, "outputs": [], "metadata": {}, "source": ""}
    cells.append({"cell_type": "code", "id": "first", **empty})
    kernel = {"display_name": "Python 3", "language": "python", "name": "python3"}
    metadata = {"kernelspec": kernel, "perijove": {"greeting": mark}}
    return {"cells": cells, "metadata": metadata, "nbformat": 4, "nbformat_minor": 5}


def _spawn(
    listener: socket.socket, folder: str, context: dict[str, Any], token: str, arguments: Any
) -> subprocess.Popen[bytes]:
    origin = context.get("allow_origin")
    message = {
        "socket": listener.fileno(),
        "base_url": context.get("notebook_path") or "/notebook/",
        "root": folder,
        "token": token,
        "user": os.path.basename(folder),
        "arguments": list(arguments),
        "extra_template_paths": context.get("extra_template_paths") or [],
        "allow_origin": [origin] if origin else [],
        "websocket_url": context.get("websocket_url") or "",
    }
    package = _perijove()
    server = subprocess.Popen(
        [sys.executable, os.path.join(HERE, "serve.py"), package],
        stdin=subprocess.PIPE,
        pass_fds=[listener.fileno()],
        cwd=folder,
        env=_environment(folder, package, context),
        preexec_fn=_die_with_parent,
    )
    if server.stdin is not None:
        with server.stdin as told:
            told.write(json.dumps(message).encode())
    return server


def _environment(folder: str, package: str, context: dict[str, Any]) -> dict[str, str]:
    """All that a notebook sees of the environment: nothing of the site's."""
    kept = {name: os.environ[name] for name in ("LANG", "LC_ALL", "TZ") if name in os.environ}
    path = f"{os.path.dirname(sys.executable)}:/usr/local/bin:/usr/bin:/bin"
    return {
        "LANG": "C.UTF-8",
        **kept,
        "PATH": path,
        "HOME": folder,
        "JUPYTER_CONFIG_DIR": os.path.join(folder, ".jupyter"),
        "JUPYTER_DATA_DIR": os.path.join(folder, ".local/share/jupyter"),
        "JUPYTER_RUNTIME_DIR": os.path.join(folder, ".local/share/jupyter/runtime"),
        **(context.get("environment") or {}),
        # A kernel runs the script by this, which shows what it printed or raised.
        "PYTHONSTARTUP": os.path.join(package, "notebook", "startup_loader.py"),
        "PERIJOVE_STARTUP": os.path.join(folder, ".jupyter/profile_default/startup/startup.py"),
    }


def _perijove() -> str:
    """The folder of the package `perijove`, which has the notebook's server in it."""
    if found := os.environ.get("PERIJOVE_PACKAGE"):
        return found
    try:
        import perijove
    except ImportError:
        raise Failure("perijove is not installed here; hint: `pip install perijove`") from None
    return os.path.dirname(os.path.abspath(perijove.__file__))


def _wait_until_ready(server: subprocess.Popen[bytes], context: dict[str, Any], token: str) -> None:
    deadline = time.monotonic() + START_TIME
    path = f"/{str(context.get('notebook_path') or 'notebook').strip('/')}/api".replace("//", "/")
    while server.poll() is None:
        asked = http.client.HTTPConnection("127.0.0.1", context["http_port"], timeout=1)
        with contextlib.closing(asked), contextlib.suppress(OSError, http.client.HTTPException):
            asked.request("GET", path, headers={"Authorization": f"token {token}"})
            if asked.getresponse().status == 200:
                return
        if time.monotonic() > deadline:
            raise Failure(f"the notebook did not answer within {START_TIME:g} s")
        time.sleep(0.02)
    raise Failure(f"the notebook ended while it started (status {server.returncode})")


def _end(server: subprocess.Popen[bytes] | None) -> None:
    """Ends the server, which ends its kernels, then whatever it has left behind."""
    if server is not None and server.poll() is None:
        server.terminate()
        try:
            server.wait(STOP_TIME)
        except subprocess.TimeoutExpired:
            server.kill()
            server.wait()
    # Descendants without a parent are ours; each one ended may leave others.
    while children := _children():
        for pid in children:
            with contextlib.suppress(OSError):
                os.kill(pid, signal.SIGKILL)
                os.waitpid(pid, 0)


def _children() -> list[int]:
    try:
        with open(f"/proc/self/task/{os.getpid()}/children", encoding="ascii") as file:
            return [int(pid) for pid in file.read().split()]
    except OSError:
        return []


PR_SET_PDEATHSIG, PR_SET_CHILD_SUBREAPER = 1, 36


def _adopt_orphans() -> None:
    with contextlib.suppress(OSError, AttributeError):
        ctypes.CDLL(None).prctl(PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0)


def _die_with_parent() -> None:
    with contextlib.suppress(OSError, AttributeError):
        ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, signal.SIGTERM, 0, 0, 0)


def _last_lines(folder: str) -> str:
    try:
        with open(os.path.join(folder, "notebook.stderr.log"), errors="replace") as file:
            return "".join(file.readlines()[-20:])
    except OSError:
        return ""


def _remove(path: str) -> None:
    with contextlib.suppress(OSError):
        os.unlink(path)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
