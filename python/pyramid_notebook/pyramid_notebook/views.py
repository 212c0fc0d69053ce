"""What a site's views call: launch, shut down, let pass."""

from __future__ import annotations

import importlib
import os
from collections.abc import Callable
from typing import Any
from urllib.parse import unquote, urlsplit

from perijove.pyramid import launch_notebook, notebook_proxy, shutdown_notebook
from pyramid.httpexceptions import HTTPForbidden

from .notebookmanager import NotebookManager
from .proxy import WSGIProxyApplication
from .utils import make_dict_hash, route_to_alt_domain

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


def get_notebook_manager(request: Any) -> NotebookManager:
    """A manager of notebooks that run without perijove, as the site's settings say.

    Notebooks of perijove's are none of its: `launch_notebook` starts those.
    """
    return NotebookManager(
        os.path.abspath(_setting(request, "notebook_folder")),
        kill_timeout=int(_setting(request, "kill_timeout", "50")),
    )


def prepare_notebook_context(
    request: Any, notebook_context: dict[str, Any] | None
) -> dict[str, Any]:
    """A context for `NotebookManager`: the caller's, with what follows from the site.

    The hash is of what the caller gave alone, so that another name of the site's host restarts
    nothing.
    """
    context = dict(notebook_context or {})
    for key, default in (("extra_template_paths", []), ("jinja_environment_options", {})):
        given = context.setdefault(key, default)
        if not isinstance(given, type(default)):
            raise TypeError(f"`{key}` is a {type(default).__name__}")
    given = {key: value for key, value in context.items() if value not in ([], {})}
    context.setdefault("context_hash", make_dict_hash(given))
    context["allow_origin"] = route_to_alt_domain(request, request.host_url)
    context["notebook_path"] = request.route_path("notebook_proxy", remainder="")
    return context


def proxy_it(request: Any, port: int) -> Any:
    """Pass a request on to a notebook of `NotebookManager`, whose owner the site knows to ask.

    A websocket goes to what `pyramid_notebook.websocket_proxy` names.
    """
    if "upgrade" in request.headers.get("Connection", "").lower():
        name = _setting(request, "websocket_proxy", "")
        if not name:
            raise RuntimeError(
                "a websocket came to the site, and nothing here carries it; hint: start the site "
                "with `perijove serve`"
            )
        module, _, function = name.replace(":", ".").rpartition(".")
        carry: Callable[[Any, int], Any] = getattr(importlib.import_module(module), function)
        return carry(request, port)
    return request.get_response(WSGIProxyApplication(port))


def _setting(request: Any, name: str, default: str | None = None) -> str:
    value = request.registry.settings.get(f"pyramid_notebook.{name}", default)
    if value is None:
        raise RuntimeError(f"Setting missing: pyramid_notebook.{name}")
    return str(value).strip()
