"""What a fork of the zygote shares with others, and what it must not: seen from within."""

from __future__ import annotations

import json
import os
import re
import shutil
import socket
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from worker.frames import PACKAGE

FORKS = 1000
# A cookie secret takes a whole application, so that only each so many forks draw one.
COOKIES = 10
# In the guardian's place: what it is told goes to the server, what the server prints comes back.
RELAY = ["/bin/sh", "-c", "cat >&6; exec 6>&-; exec cat <&5", "guardian"]
# In Jupyter's place, and then in a kernel's: says what it has drawn, and what it has open.
PROBE = """
import json, multiprocessing, os, random, secrets, socket, ssl, sys, tempfile, uuid

def check_python():
    import numpy.random

def read_message():
    return json.loads(sys.stdin.buffer.read())

def drawn():
    import numpy
    from jupyter_client.session import Session
    return {
        "random": random.getrandbits(64),
        "numpy": int(numpy.random.randint(2 ** 62)),
        "uuid4": str(uuid.uuid4()),
        "ssl": ssl.RAND_bytes(16).hex(),
        "secrets": secrets.token_hex(16),
        "name": next(tempfile._get_candidate_names()),
        "authkey": bytes(multiprocessing.current_process().authkey).hex(),
        "session": Session().key.decode(),
        **({"cookie": cookie_secret()} if "JUPYTER_RUNTIME_DIR" in os.environ else {}),
    }

def cookie_secret():
    from jupyter_server.serverapp import ServerApp
    app = ServerApp(log_level="CRITICAL")
    app.identity_provider = app.identity_provider_class(parent=app)
    return app.cookie_secret.hex()

def shown():
    numbers = [int(n) for n in os.listdir("/proc/self/fd")]
    return {
        "numbers": sorted(n for n in numbers if os.path.exists(f"/proc/self/fd/{n}")),
        "environment": dict(os.environ), "argv": sys.argv, "orig_argv": sys.orig_argv,
        "path": sys.path, "folder": os.getcwd(), "session": os.getsid(0) == os.getpid(),
        "status": [line for line in open("/proc/self/status")
                   if line.startswith(("SigBlk", "SigIgn", "SigCgt", "Umask", "Threads"))],
        "trash": sys.modules["send2trash.plat_other"].HOMETRASH,
        "settings": sys.modules["jupyterlab.labapp"].LabApp.user_settings_dir.default_value,
        "user": sys.modules["jupyter_client.session"].Session().username,
        "temporary": tempfile.gettempdir(),
    }

def serve(message, forker=None):
    print(json.dumps(drawn() if message == "draw" else shown()), flush=True)
    os._exit(0)
"""


class Zygote:
    """One that runs the probe instead of a server."""

    def __init__(self, package: Path, environment: dict[str, str]) -> None:
        self.script = package / "notebook/zygote.py"
        self.home = package / "home"
        self.home.mkdir()
        self.control, theirs = socket.socketpair()
        # `3` is the descriptor that it is agreed to be.
        launch = f"exec {sys.executable} -Xfrozen_modules=off {self.script} 3<&{theirs.fileno()}"
        launch += f" {theirs.fileno()}<&-"
        self.process = subprocess.Popen(
            ["/bin/bash", "-c", launch],
            pass_fds=[theirs.fileno()],
            env=environment,
            cwd="/",
            stdin=subprocess.DEVNULL,
        )
        theirs.close()
        with self.control.makefile("rb") as said:
            self.facts = json.loads(said.readline())

    def fork(self, message: object, **environment: str) -> dict[str, Any]:
        """What the probe says in a fork of its own."""
        (told, tell), (said, say) = os.pipe(), os.pipe()
        ours, listener = socket.socketpair()
        word = {"guardian": RELAY, "descriptors": [3], "claim": 4}
        claim = os.open(os.devnull, os.O_RDONLY)
        passed = [told, say, claim, listener.fileno()]
        socket.send_fds(self.control, [json.dumps(word).encode() + b"\n"], passed)
        for number in (told, say, claim):
            os.close(number)
        listener.close()
        ours.close()
        identity = json.dumps(self.identity(environment)).encode()
        with open(tell, "wb") as input:
            input.write(b"%d\n" % len(identity) + identity + json.dumps(message).encode())
        with open(said, "rb") as output:
            answer: dict[str, Any] = json.loads(output.read())
        return answer

    def identity(self, environment: dict[str, str]) -> dict[str, Any]:
        own = {"HOME": str(self.home), "JUPYTER_CONFIG_DIR": f"{self.home}/.jupyter"}
        return {
            "program": sys.executable,
            "arguments": [str(self.script.parent / "__main__.py")],
            "environment": {"PATH": os.environ["PATH"], "LANG": "C.UTF-8", **own, **environment},
            "folder": str(self.home),
            "confinement": {},
        }

    def end(self) -> None:
        self.control.close()
        assert self.process.wait(10) == 0


@pytest.fixture(scope="module")
def zygote(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Zygote]:
    package = tmp_path_factory.mktemp("package")
    shutil.copytree(PACKAGE / "notebook", package / "notebook")
    shutil.copy(PACKAGE / "_worker.abi3.so", package)
    (package / "notebook/__main__.py").write_text(PROBE)
    environment = {
        "PATH": os.environ["PATH"],
        "LANG": "C.UTF-8",
        "HOME": "/nonexistent/home",
        "JUPYTER_CONFIG_DIR": "/nonexistent/config",
        # Its threads would not outlive a fork; no zygote of ours imports it.
        "OPENBLAS_NUM_THREADS": "1",
    }
    zygote = Zygote(package, environment)
    assert zygote.facts["problem"] is None
    yield zygote
    zygote.end()


def test_nothing_is_drawn_twice(zygote: Zygote) -> None:
    seen: dict[str, set[object]] = {}
    for number in range(FORKS):
        has_cookie = number % COOKIES == 0
        own = {"JUPYTER_RUNTIME_DIR": f"{zygote.home}/{number}"} if has_cookie else {}
        for name, value in zygote.fork("draw", **own).items():
            seen.setdefault(name, set()).add(value)
    assert len(seen.pop("cookie")) == FORKS // COOKIES
    assert {name: len(values) for name, values in seen.items()} == dict.fromkeys(seen, FORKS)
    assert len(seen) == 8


def test_a_fork_is_like_a_process_that_was_started(zygote: Zygote) -> None:
    environment = {"USER": "ada", "TMPDIR": str(zygote.home)}
    warm = zygote.fork("show", **environment)
    identity = zygote.identity(environment)
    program = (
        "import importlib, runpy, sys; sys.argv = [sys.argv[1]]; "
        "[importlib.import_module(m) for m in ('send2trash.plat_other', 'jupyterlab.labapp', "
        "'jupyter_client.session')]; sys.orig_argv = [sys.executable, *sys.argv]; "
        "module = runpy.run_path(sys.argv[0]); module['serve']('show')"
    )
    command = [sys.executable, "-Xfrozen_modules=off", "-c", program, *identity["arguments"]]
    ours, listener = socket.socketpair()
    with ours, listener:
        arrange = f'exec "$@" 3<&{listener.fileno()} {listener.fileno()}<&-'
        started = subprocess.run(
            ["/bin/bash", "-c", arrange, "-", *command],
            pass_fds=[listener.fileno()],
            env=identity["environment"],
            cwd=identity["folder"],
            start_new_session=True,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            check=True,
        )
    cold = json.loads(started.stdout)
    # What a shell adds, and what `-c` puts first.
    for name in ("PWD", "SHLVL", "_"):
        cold["environment"].pop(name, None)
    cold["path"] = [path for path in cold["path"] if path]
    # One more than those of a cold start: to whatever forks its kernels.
    assert warm.pop("numbers") == [*cold.pop("numbers"), 4]
    assert warm == cold


def test_what_was_read_by_imports_is_known(zygote: Zygote) -> None:
    read = set(zygote.facts["read"])
    assert {"JUPYTERLAB_DIR", "TERM", "MPLBACKEND"} & read
    assert not {"HOME", "JUPYTER_CONFIG_DIR", "USER"} & read


def test_nothing_of_one_fork_is_in_another(zygote: Zygote) -> None:
    canary = os.urandom(24).hex()
    assert zygote.fork("show", CANARY=canary)["environment"]["CANARY"] == canary
    assert "CANARY" not in zygote.fork("show")["environment"]
    assert canary.encode() not in memory(zygote.process.pid)


def memory(pid: int) -> bytes:
    """All that a process can have written to."""
    found = []
    with open(f"/proc/{pid}/maps") as maps, open(f"/proc/{pid}/mem", "rb") as memory:
        for line in maps:
            if match := re.match(r"([0-9a-f]+)-([0-9a-f]+) rw", line):
                begin, end = (int(number, 16) for number in match.groups())
                memory.seek(begin)
                found.append(memory.read(end - begin))
    return b"".join(found)
