"""Starts a stock Jupyter server on the socket that perijove has bound.

Run as a file by whichever Python serves notebooks. What to do comes as JSON on standard input, so
that the token stands neither among the arguments nor in the environment.
"""

from __future__ import annotations

import json
import os
import socket
import sys
from types import ModuleType
from typing import Any, NoReturn

# Exit status of a program that lacks something it needs (sysexits: EX_UNAVAILABLE), and of one that
# is wrongly configured (EX_CONFIG).
UNAVAILABLE = 69
CONFIG = 78
OLDEST = (3, 10)
HERE = os.path.dirname(os.path.abspath(__file__))


def main() -> None:
    # Python puts a script's folder first; modules of ours must not stand before others' here.
    sys.path[:] = [path for path in sys.path if os.path.abspath(path or ".") != HERE]
    message = read_message()
    check_python()
    serve(message)


def serve(message: dict[str, Any], forker: Any = None) -> None:
    """Runs the server; with a forker, it has its kernels forked."""
    listener = socket.socket(fileno=message["socket"])
    listener.setblocking(False)
    # Kernels are no business of this socket.
    listener.set_inheritable(False)
    name = "_perijove_notebook_server"
    server = sys.modules.get(name) or load(os.path.join(HERE, "server.py"), name)
    server.run(listener, message, forker)


def check_python() -> None:
    if sys.version_info < OLDEST:
        version = ".".join(map(str, sys.version_info[:3]))
        fail(UNAVAILABLE, f"notebooks need Python 3.10 or newer, {sys.executable} is {version}")
    missing = missing_packages()
    if missing:
        fail(
            UNAVAILABLE,
            f"{' and '.join(missing)} not installed for {sys.executable}: run "
            f"`{sys.executable} -m pip install jupyterlab notebook`",
        )


def read_message() -> dict[str, Any]:
    """What perijove has to say; then standard input is empty, so that nothing waits for it."""
    message: dict[str, Any] = json.loads(sys.stdin.buffer.read())
    nothing = os.open(os.devnull, os.O_RDONLY)
    os.dup2(nothing, 0)
    os.close(nothing)
    return message


def missing_packages() -> list[str]:
    from importlib.util import find_spec

    names = {"jupyter_server": "jupyter_server is", "jupyterlab": "jupyterlab is"}
    missing = [name for name in names if find_spec(name) is None]
    if len(missing) == 2:
        return ["jupyter_server", "jupyterlab are"]
    return [names[name] for name in missing]


def load(path: str, name: str) -> ModuleType:
    """Loads a module from a file, wherever that lies."""
    import importlib.util

    spec = importlib.util.spec_from_file_location(name, path)
    if spec is None or spec.loader is None:
        raise ImportError(path)
    module = importlib.util.module_from_spec(spec)
    sys.modules[name] = module
    spec.loader.exec_module(module)
    return module


def fail(status: int, text: str) -> NoReturn:
    print(text, file=sys.stderr, flush=True)
    raise SystemExit(status)


if __name__ == "__main__":
    main()
