"""What people do in a notebook server, and what computes in it: asked for by perijove.

An action is something that a person does: runs a cell, answers a prompt, types in a terminal,
saves, opens a page. Polls, pings and status requests are none; an open tab makes them for ever.
"""

from __future__ import annotations

import json
import os
import time
from collections.abc import Callable
from typing import Any

from jupyter_server.base.handlers import APIHandler
from jupyter_server.services.kernels.websocket import KernelWebsocketHandler
from jupyter_server.utils import url_path_join
from tornado import web
from tornado.ioloop import PeriodicCallback

ADDRESS = "api/perijove/activity"

# Messages to a kernel that a person causes.
ACTIONS = {
    "execute_request",
    "input_reply",
    "complete_request",
    "inspect_request",
    "comm_msg",
}
# Changes that pages make on their own: where windows stand, what violates a policy.
OF_THEMSELVES = ("lab/api/workspaces", "api/security/csp-report", "api/metrics")
# Seconds for which a terminal counts as busy after it has written something by itself.
OUTPUT_LASTS = 10.0
# Kernels that are to be ended when they idle are looked at this often, in seconds, at most.
LOOK = 60.0


class Activity:
    """When somebody last did something here. One for each server."""

    def __init__(self, app: Any) -> None:
        self.app = app
        self.last_action = time.time()
        self.kernels: dict[str, float] = {}
        self.written: dict[int, float] = {}

    def act(self, kernel: str | None = None) -> None:
        self.last_action = time.time()
        if kernel is not None:
            self.kernels[kernel] = self.last_action

    def seen(self) -> dict[str, Any]:
        kernels, terminals = self.running_kernels(), self.running_terminals()
        everything = [*kernels, *terminals]
        is_busy = any(each["busy"] for each in everything)
        # What has just come to its end was busy until then.
        ended = max((each["last_active"] for each in everything), default=0.0)
        last_active = time.time() if is_busy else max(self.last_action, ended)
        return {
            "last_action": self.last_action,
            "last_active": last_active,
            "busy": is_busy,
            "kernels": kernels,
            "terminals": terminals,
        }

    def running_kernels(self) -> list[dict[str, Any]]:
        manager = self.app.kernel_manager
        found = []
        for name in manager.list_kernel_ids():
            try:
                kernel = manager.get_kernel(name)
            except KeyError:  # it has ended meanwhile
                continue
            own = self.kernels.setdefault(name, time.time())
            last = getattr(kernel, "last_activity", None)
            found.append(
                {
                    "id": name,
                    "name": getattr(kernel, "kernel_name", ""),
                    "busy": getattr(kernel, "execution_state", "") == "busy",
                    "last_active": max(own, last.timestamp() if last else 0.0),
                }
            )
        for gone in self.kernels.keys() - {each["id"] for each in found}:
            del self.kernels[gone]
        return found

    def running_terminals(self) -> list[dict[str, Any]]:
        manager = self.app.web_app.settings.get("terminal_manager")
        terminals = getattr(manager, "terminals", None) or {}
        found = []
        for name, terminal in list(terminals.items()):
            written = self.written.get(id(terminal), 0.0)
            is_busy = has_child(terminal) or time.time() - written < OUTPUT_LASTS
            found.append({"name": name, "busy": is_busy, "last_active": written})
        alive = {id(terminal) for terminal in terminals.values()}
        self.written = {key: at for key, at in self.written.items() if key in alive}
        return found


def has_child(terminal: Any) -> bool:
    """Whether something else than the terminal's own shell is in its foreground."""
    process = getattr(terminal, "ptyproc", None)
    try:
        return process is not None and os.tcgetpgrp(process.fd) != process.pid
    except OSError:  # it is being closed
        return False


class ActivityHandler(APIHandler):
    """Tells what goes on; a POST says that somebody is here."""

    @property
    def activity(self) -> Activity:
        found: Activity = self.settings["perijove_activity"]
        return found

    @web.authenticated
    def get(self) -> None:
        self.finish(json.dumps(self.activity.seen()))

    @web.authenticated
    def post(self) -> None:
        self.activity.act()
        self.get()


def watch(app: Any, kernel_idle_timeout: float = 0.0) -> None:
    """Has a server that is set up, but does not run yet, notice what people do in it."""
    activity = Activity(app)
    application = app.web_app
    application.settings["perijove_activity"] = activity
    address = url_path_join(app.base_url, ADDRESS)
    application.add_handlers(".*$", [(address, ActivityHandler)])
    watch_requests(application, activity, app.base_url)
    watch_kernels(activity)
    watch_terminals(application.settings.get("terminal_manager"), activity)
    if kernel_idle_timeout > 0:
        look = max(min(LOOK, kernel_idle_timeout / 4), 0.5)
        callback = PeriodicCallback(ender(activity, kernel_idle_timeout), look * 1000)
        app.io_loop.add_callback(callback.start)


def watch_requests(application: Any, activity: Activity, base_url: str) -> None:
    find = application.find_handler

    def find_handler(request: Any, **kwargs: Any) -> Any:
        if is_action(request, base_url):
            activity.act()
        return find(request, **kwargs)

    application.find_handler = find_handler


def is_action(request: Any, base_url: str) -> bool:
    below = request.path[len(base_url) :] if request.path.startswith(base_url) else request.path
    if below.startswith((*OF_THEMSELVES, ADDRESS)):
        return False
    if request.method not in ("GET", "HEAD", "OPTIONS"):
        return True
    # A person opens a page, or loads it anew.
    return bool(request.headers.get("Sec-Fetch-Mode") == "navigate")


def watch_kernels(activity: Activity) -> None:
    wrap(KernelWebsocketHandler, "on_message", lambda handler, message: note(handler, message))

    def note(handler: Any, message: Any) -> None:
        if is_message_of_a_person(message):
            activity.act(getattr(handler, "kernel_id", None))


def is_message_of_a_person(message: Any) -> bool:
    """By a kernel message in any of the forms in which pages send them."""
    try:
        header, content = read_message(message)
    except (ValueError, KeyError, IndexError, TypeError, UnicodeDecodeError):
        return False
    if header.get("msg_type") not in ACTIONS:
        return False
    # What runs silently and leaves no trace is an extension that looks at variables.
    if header["msg_type"] == "execute_request" and b'"silent"' in content:
        return json.loads(content).get("silent") is not True
    return True


def read_message(message: Any) -> tuple[dict[str, Any], bytes]:
    """The header and the content as JSON."""
    if isinstance(message, str):
        whole = json.loads(message)
        return whole["header"], json.dumps(whole.get("content") or {}).encode()
    count = int.from_bytes(message[:8], "little")
    if 2 < count < 4096:
        # v1.kernel.websocket.jupyter.org: offsets, channel, header, parent, metadata, content
        places = [int.from_bytes(message[8 * k : 8 * k + 8], "little") for k in range(1, count + 1)]
        return json.loads(message[places[1] : places[2]]), bytes(message[places[4] : places[5]])
    # The older form, which has buffers: offsets in 4 bytes each, then the message as JSON.
    count = int.from_bytes(message[:4], "big")
    places = [int.from_bytes(message[4 * k : 4 * k + 4], "big") for k in range(1, count + 1)]
    end = places[1] if count > 1 else len(message)
    whole = json.loads(message[places[0] : end])
    return whole["header"], json.dumps(whole.get("content") or {}).encode()


def watch_terminals(manager: Any, activity: Activity) -> None:
    if manager is None:
        return
    from terminado.websocket import TermSocket

    def note(_: Any, message: Any) -> None:
        try:
            if json.loads(message)[0] == "stdin":
                activity.act()
        except (ValueError, IndexError, TypeError, KeyError):
            pass

    wrap(TermSocket, "on_message", note)
    read = manager.pre_pty_read_hook

    def written(terminal: Any) -> Any:
        activity.written[id(terminal)] = time.time()
        return read(terminal)

    manager.pre_pty_read_hook = written


def wrap(kind: Any, method: str, before: Callable[[Any, Any], None]) -> None:
    """Has a function called before a method of theirs."""
    original = getattr(kind, method)

    def wrapped(self: Any, message: Any) -> Any:
        before(self, message)
        return original(self, message)

    setattr(kind, method, wrapped)


def ender(activity: Activity, timeout: float) -> Callable[[], Any]:
    """What ends kernels that nobody has used for so long."""

    async def end_idle_kernels() -> None:
        manager = activity.app.kernel_manager
        for kernel in activity.running_kernels():
            if kernel["busy"] or time.time() - kernel["last_active"] < timeout:
                continue
            activity.app.log.info("Kernel %s is ended: nobody has used it", kernel["id"])
            if kernel["id"] in manager:
                await manager.shutdown_kernel(kernel["id"])

    return end_idle_kernels
