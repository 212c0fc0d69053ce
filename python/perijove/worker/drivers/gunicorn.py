"""gunicorn, with the site's own configuration; ours is below it, but for where it listens."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable
from typing import Any

from gunicorn.app.wsgiapp import WSGIApplication
from gunicorn.errors import HaltServer

from perijove.worker.behind import behind
from perijove.worker.process import CONFIG, Order, wsgi_or_show

#: How gunicorn's first process ends when a worker could not load the application.
_BOOT_FAILED = 3
_NOT_LOADED = (_BOOT_FAILED, 4)
#: Worker classes that take one request for each thread.
_THREADED = ("gthread", "threads")


class Server(WSGIApplication):
    """gunicorn's own command, told where to listen and what to load."""

    def __init__(self, order: Order) -> None:
        self._order = order
        super().__init__("%(prog)s [OPTIONS]", prog="gunicorn")

    def load_default_config(self) -> None:
        super().load_default_config()
        # The lowest rank: its configuration file, GUNICORN_CMD_ARGS and arguments come later.
        for name, value in self._defaults().items():
            if name in self.cfg.settings:
                self.cfg.set(name, value)

    def load_config(self) -> None:
        super().load_config()
        self.cfg.set("bind", [f"fd://{self._order.socket}"])
        self.cfg.set("daemon", False)

    def load(self) -> Callable[..., Any]:
        application = wsgi_or_show(self._order)
        if application is None:
            sys.exit(_BOOT_FAILED)
        return behind(application, self._at_once())

    def _defaults(self) -> dict[str, Any]:
        return {
            "workers": self._order.workers,
            # Shown where the environment has setproctitle.
            "proc_name": self._order.name,
            # A connection kept by one process would make its next request wait there while
            # another process has nothing to do.
            "keepalive": 0,
            # Its control socket lies in the site's folder, where that of a replacement would too.
            "control_socket_disable": True,
        }

    def _at_once(self) -> int:
        config = self.cfg
        kind = str(config.worker_class_str)
        if kind == "sync":
            each = 1
        elif kind in _THREADED:
            each = config.threads
        else:
            each = config.worker_connections
        return int(config.workers) * int(each)


def run(order: Order) -> int:
    sys.argv = ["gunicorn", *order.arguments, "perijove"]
    first = os.getpid()
    try:
        Server(order).run()
    except SystemExit as ended:
        # Workers leave by this way as well, with a status that the first process knows.
        if ended.code in _NOT_LOADED and os.getpid() == first:
            return CONFIG
        raise
    except HaltServer as halted:
        # While it halts because one worker did not load, it may learn the same of another one, and
        # then this is what its own handling of the first leaves behind.
        if halted.exit_status in _NOT_LOADED and os.getpid() == first:
            return CONFIG
        raise
    return 0
