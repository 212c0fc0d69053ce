"""uvicorn: one process of ours for each worker, each with a socket of its own."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import uvicorn

from perijove.worker import asgi, behind, behind_asgi
from perijove.worker.process import CONFIG, Order, load_or_show

#: How uvicorn ends when the application did not start up (lifespan).
_STARTUP_FAILED = 3

#: What uvicorn asks for by its name.
_loaded: dict[str, Callable[..., Any]] = {}


def run(order: Order) -> int:
    loaded = load_or_show(order)
    if loaded is None:
        return CONFIG
    interface, _loaded["application"] = _interface(order.interface, loaded)
    arguments = [
        f"{__name__}:application",
        "--factory",
        *("--interface", interface),
        # What the client used is told to the application by ourselves, in all servers alike.
        "--no-proxy-headers",
        "--no-access-log",
        *order.arguments,
        *("--workers", "1", "--fd", str(order.socket)),
    ]
    try:
        uvicorn.main.main(args=arguments, prog_name="uvicorn")
    except SystemExit as ended:
        if ended.code == _STARTUP_FAILED:
            return CONFIG
        raise
    return 0


def application() -> Callable[..., Any]:
    """What uvicorn is told to load."""
    return _loaded["application"]


def _interface(wanted: str, loaded: Callable[..., Any]) -> tuple[str, Callable[..., Any]]:
    if asgi.is_served(wanted, loaded):
        return "asgi3", behind_asgi.behind(loaded)
    return "wsgi", behind.behind(loaded)
