"""What the zygote imports, and what those imports have read of the environment."""

from __future__ import annotations

import importlib
import os
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from types import ModuleType
from typing import Any

# What a server with JupyterLab has imported when it answers, and what a kernel has when it runs its
# first cell. Extensions beyond these are imported by each server itself.
MODULES = """
    jupyter_server.serverapp jupyter_server.services.kernels.connection.channels
    jupyter_server.kernelspecs.handlers jupyter_server.nbconvert.handlers
    jupyter_server.services.api.handlers jupyter_server.services.config.handlers
    jupyter_server.services.contents.handlers jupyter_server.services.events.handlers
    jupyter_server.services.kernels.handlers jupyter_server.services.kernelspecs.handlers
    jupyter_server.services.nbconvert.handlers jupyter_server.services.security.handlers
    jupyter_server.services.sessions.handlers jupyter_server.services.shutdown
    jupyter_server.view.handlers
    jupyterlab.labapp jupyterlab.debuglog jupyterlab.handlers.announcements
    jupyterlab.handlers.build_handler jupyterlab.handlers.error_handler
    jupyterlab.handlers.extension_manager_handler jupyterlab.handlers.plugin_manager_handler
    jupyter_lsp.serverextension jupyter_lsp.virtual_documents_shadow jupyter_server_terminals.app
    notebook.app notebook_shim.nbserver notebook_shim.shim nbclassic.notebookapp
    jupyter_server_proxy ctypes httpcore jinja2.ext jupyter_core.migrate tornado.platform.asyncio
    zmq.asyncio zmq.eventloop.zmqstream
    ipykernel.kernelapp ipykernel.ipkernel ipykernel.zmqshell ipykernel.debugger
    ipykernel.kernelspec
    IPython IPython.core.completer IPython.core.completerlib IPython.core.debugger
    IPython.core.debugger_backport IPython.core.logger IPython.core.oinspect
    IPython.extensions.storemagic
    IPython.utils.wildcard faulthandler pdb psutil
""".split()

# Variables that are each user's own. A module that reads one when it is imported holds what it read
# for the life of the process. The modules listed here may: `fresh` renews what they hold, or it is
# used by nobody.
PERSONAL = {
    "HOME",
    "JUPYTER_CONFIG_DIR",
    "JUPYTER_DATA_DIR",
    "JUPYTER_RUNTIME_DIR",
    "JPY_PARENT_PID",
    "LOGNAME",
    "TMPDIR",
    "USER",
    "XDG_CACHE_HOME",
    "XDG_CONFIG_HOME",
    "XDG_DATA_HOME",
}
RENEWED = {
    "ipykernel.kernelapp",
    "jupyter_client.session",
    "jupyterlab.labapp",
    "send2trash.plat_other",
    "sysconfig",
    "wsgiref.handlers",
    "zoneinfo._tzpath",
}

Read = set[tuple[str, str]]


def everything(load: Callable[[str, str], ModuleType]) -> dict[str, Any]:
    """Imports all that is there of it; what is to be known of the process then."""
    with recorded() as read:
        for name in MODULES:
            with suppress(ImportError):
                importlib.import_module(name)
        load("server.py", "_perijove_notebook_server")
        load("kernels.py", "_perijove_notebook_kernels")
    return {
        "read": sorted({name for name, _ in read} - PERSONAL),
        "user-site": user_site(),
        "seconds": round(time.process_time(), 3),
        "problem": problem(read),
    }


@contextmanager
def recorded() -> Iterator[Read]:
    """Notes which variables are read, and by which module while it is imported."""
    read: Read = set()
    kind: Any = type(os.environ)
    getitem = kind.__getitem__

    def noting(self: Any, key: Any) -> Any:
        read.add((os.fsdecode(key), importing(sys._getframe(1))))
        return getitem(self, key)

    kind.__getitem__ = noting
    try:
        yield read
    finally:
        kind.__getitem__ = getitem


def importing(frame: Any) -> str:
    """The innermost module that is being imported."""
    while frame is not None and frame.f_code.co_name != "<module>":
        frame = frame.f_back
    return str(frame.f_globals.get("__name__", "")) if frame is not None else ""


def problem(read: Read) -> str | None:
    """Why no server can be forked from this process."""
    personal = sorted((m, name) for name, m in read if name in PERSONAL and m not in RENEWED)
    if personal:
        return f"importing {personal[0][0]} reads {personal[0][1]}"
    threads = len(os.listdir("/proc/self/task"))
    if threads > 1:
        return f"what it has imported started {threads - 1} threads"
    numbers = {int(number) for number in os.listdir("/proc/self/fd")}
    others = [
        number for number in numbers if number > 3 and os.path.exists(f"/proc/self/fd/{number}")
    ]
    if others:
        return f"what it has imported opened descriptor {min(others)}"
    return None


def user_site() -> str | None:
    """Where packages of a user's own lie below their home, when this Python looks there."""
    import site

    if not site.ENABLE_USER_SITE:
        return None
    return os.path.relpath(site.getusersitepackages(), os.path.expanduser("~"))
