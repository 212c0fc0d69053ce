"""The process from which notebook servers are forked: it has imported what each of them needs.

It knows no user: it starts no thread and reads nobody's files, and it has noted which variables its
imports read, so that whoever asks for a fork knows when one would differ from a cold start. What
passes on its socket, descriptor 3:

- it says once, when it is ready, what it is: a line of JSON;
- it is told, for each server, which guardian to start: a line of JSON, with the guardian's standard
  input and output, its claim, and the descriptors of the server.

A fork goes: this process forks one that becomes the guardian. That one forks the server and
executes the guardian, which finds its server's output and input behind the claim. The server waits
on its standard input until the guardian says who it is to be.
"""

from __future__ import annotations

import gc
import importlib.util
import json
import os
import signal
import socket
import sys
import time
from types import ModuleType
from typing import Any, NoReturn

CONTROL = 3
# Of a word on the socket; of the descriptors that come with one.
LONGEST = 64 << 10
MOST_DESCRIPTORS = 16
# Above every number that is agreed on.
ABOVE = 64
HERE = os.path.dirname(os.path.abspath(__file__))


def main() -> None:
    began = time.time()
    # Python puts a script's folder first; modules of ours must not stand before others' here.
    sys.path[:] = [path for path in sys.path if os.path.abspath(path or ".") != HERE]
    paths = list(sys.path)
    launcher = load("__main__.py", "_perijove_notebook_launcher")
    launcher.check_python()
    fresh = load("fresh.py", "_perijove_notebook_fresh")
    preload = load("preload.py", "_perijove_notebook_preload")
    # What confines a fork is the same code that confines a process which is executed.
    confine = load("../_worker.abi3.so", "_worker").confine
    del sys.modules["_worker"]
    facts = {"began": began, "paths": paths, **preload.everything(load)}
    fresh.find_personal_defaults()
    control = socket.socket(fileno=CONTROL)
    control.set_inheritable(False)
    # Guardians go on without us, and nobody waits for them.
    signal.signal(signal.SIGCHLD, signal.SIG_IGN)
    gc.collect()
    # What is there now is never looked at again, and so stays shared with every fork.
    gc.freeze()
    control.sendall(json.dumps(facts).encode() + b"\n")
    guardian = serve(control)
    # Only servers come here.
    control.detach()
    kernels = sys.modules["_perijove_notebook_kernels"]
    fresh.become(fresh.read_identity(0), guardian, confine)
    forker = kernels.begin(facts)
    if isinstance(forker, kernels.Kernel):
        forker.run()
    else:
        launcher.serve(launcher.read_message(), forker)


def load(file: str, name: str) -> ModuleType:
    """Loads a module from a file beside this one."""
    spec = importlib.util.spec_from_file_location(name, os.path.join(HERE, file))
    if spec is None or spec.loader is None:
        raise ImportError(file)
    module = importlib.util.module_from_spec(spec)
    sys.modules[name] = module
    spec.loader.exec_module(module)
    return module


def serve(control: socket.socket) -> int:
    """Forks as it is told, and ends with whoever tells it. It returns in servers only: the process
    id of their guardian."""
    while True:
        word, descriptors, _, _ = socket.recv_fds(control, LONGEST, MOST_DESCRIPTORS)
        if not word:
            raise SystemExit(0)
        if os.fork() == 0:
            return fork_server(json.loads(word), descriptors)
        for descriptor in descriptors:
            os.close(descriptor)


def fork_server(told: dict[str, Any], descriptors: list[int]) -> int:
    """Forks the server, where this returns, and becomes its guardian."""
    try:
        os.setsid()
        signal.signal(signal.SIGCHLD, signal.SIG_DFL)
        stdin, stdout, claim, *own = descriptors
        (output, printed), (told_by, tell) = os.pipe(), os.pipe()
        guardian = os.getpid()
        server = os.fork()
        if server == 0:
            os.setsid()
            numbers = dict(zip(told["descriptors"], own, strict=True))
            place({0: told_by, 1: printed, 2: printed, **numbers})
            return guardian
        first = told["claim"]
        place({0: stdin, 1: stdout, first: claim, first + 1: output, first + 2: tell}, {2})
        become_guardian(told["guardian"], server)
    except BaseException:
        give_up()


def become_guardian(command: list[str], server: int) -> NoReturn:
    for number in (signal.SIGPIPE, signal.SIGXFSZ, signal.SIGINT):
        signal.signal(number, signal.SIG_DFL)
    os.execve(command[0], [*command, "--adopt", str(server)], {})  # noqa: S606


def place(numbers: dict[int, int], kept: frozenset[int] | set[int] = frozenset()) -> None:
    """Puts descriptors to their numbers, and closes all others but those that are kept."""
    import fcntl

    # Out of the way of all targets first.
    sources = {to: fcntl.fcntl(source, fcntl.F_DUPFD, ABOVE) for to, source in numbers.items()}
    for to, source in sources.items():
        os.dup2(source, to)
    last = 0
    for number in sorted({*numbers, *kept}):
        # An empty range would mean all there are (close_range(2) takes its end as -1).
        if last < number:
            os.closerange(last, number)
        last = number + 1
    os.closerange(last, os.sysconf("SC_OPEN_MAX"))


def give_up() -> NoReturn:
    """Ends a fork that came to nothing: whoever waits for it sees its pipes end."""
    import traceback

    traceback.print_exc()
    sys.stderr.flush()
    os._exit(70)


if __name__ == "__main__":
    main()
