"""What a site's views call: launch, shut down, let pass."""

from __future__ import annotations

from typing import Any
from urllib.parse import unquote, urlsplit

from perijove.pyramid import launch_notebook, notebook_proxy, shutdown_notebook
from pyramid.httpexceptions import HTTPForbidden

from ._gone import gone

__all__ = [
    "get_notebook_manager",
    "launch_notebook",
    "launch_on_demand",
    "notebook_proxy",
    "prepare_notebook_context",
    "proxy_it",
    "security_check",
    "shutdown_notebook",
]


def launch_on_demand(
    request: Any, username: str, notebook_context: dict[str, Any] | None
) -> dict[str, Any]:
    """Start the user's notebook and return its context, with its file's name."""
    place = urlsplit(launch_notebook(request, username, notebook_context).location).path
    return {**(notebook_context or {}), "notebook_name": unquote(place.rsplit("/", 1)[-1])}


def security_check(request: Any, username: str) -> None:
    """Refuse to go on for nobody."""
    if not username:
        raise HTTPForbidden("a notebook belongs to a user, and nobody is signed in")


get_notebook_manager = gone(
    "get_notebook_manager",
    "ask `perijove.control.Control()` for `launch`, `stop`, `status`, `list`",
)
prepare_notebook_context = gone(
    "prepare_notebook_context", "pass the context to `launch_notebook` as it is"
)
proxy_it = gone("proxy_it", "call `notebook_proxy(request, username)`: perijove carries the rest")
