"""For Pyramid sites: three functions that a site's own views call once they know who asks.

Who may have a notebook is decided by the site: its views check the login and the permission, then
call `launch_notebook`, `shutdown_notebook` or `notebook_proxy` with the user's name. No request to
a notebook passes through here: perijove asks the site's `notebook_proxy` view who a visitor is,
and carries the rest itself.
"""

from __future__ import annotations

import logging
import os
from collections.abc import Mapping
from typing import Any

from pyramid.exceptions import ConfigurationError
from pyramid.httpexceptions import (
    HTTPException,
    HTTPFound,
    HTTPInternalServerError,
    HTTPSeeOther,
    status_map,
)
from pyramid.response import Response

from . import manners
from .manners import Asked, Refusal

__all__ = ["includeme", "launch_notebook", "notebook_proxy", "shutdown_notebook"]

log = logging.getLogger(__name__)


def includeme(config: Any) -> None:
    """Check the `pyramid_notebook.*` settings when the site starts, rather than at the first click.

    Optional: `config.include("perijove.pyramid")`.
    """
    _notebook_settings(config.get_settings())


def launch_notebook(
    request: Any,
    username: str,
    notebook_context: Mapping[str, Any] | None = None,
    name: str | None = None,
    *,
    when_busy: str = "ask",
) -> HTTPException:
    """Start the user's notebook, or join it, and return the redirect that leads there.

    `notebook_context` holds what the notebook starts with (`perijove.startup` builds it); as long
    as it stays the same, the same notebook is joined, and another one replaces it: while a kernel
    computes, the user is asked first, unless `when_busy="replace"`. With a `name` the user has a
    further notebook beside the first.

    Raises an HTTP error that says what to do when there is no user, when another site's page asks,
    or when perijove cannot start the notebook.
    """
    asked = _asked(request)
    try:
        settings = _notebook_settings(request.registry.settings or {})
        launch = manners.launch(asked, username, notebook_context, name, when_busy, settings)
        _check_place(request, launch.url)
    except ConfigurationError as error:
        log.error("cannot launch a notebook: %s", error)
        raise HTTPInternalServerError(str(error)) from error
    except Refusal as refusal:
        raise _failure(refusal) from refusal
    # A browser repeats the method on 302 nowhere but by custom: a form's launch says it outright.
    return (HTTPFound if asked.is_reading else HTTPSeeOther)(location=launch.url)


def shutdown_notebook(request: Any, username: str, name: str | None = None) -> None:
    """End the user's notebook with its kernels; nothing happens when there is none.

    A link on another site's page ends nothing: it leads to a page of perijove's that asks the user.
    """
    try:
        manners.shutdown(_asked(request), username, name)
    except Refusal as refusal:
        raise _failure(refusal) from refusal


def notebook_proxy(request: Any, username: str) -> Response:
    """Answer perijove's question who asks for a notebook; the site has checked it before.

    The answer is 200 with `Perijove-User`: the user's name in its canonical form, where everything
    but `A–Z a–z 0–9 - _ ~` is percent-encoded, since a header cannot carry every name. Perijove
    compares the decoded name with the owner of the notebook and may remember the answer for some
    seconds, unless the question is about a change.
    """
    try:
        word = manners.word(_asked(request), username)
    except Refusal as refusal:
        raise _failure(refusal) from refusal
    response = Response(body=b"", content_type="text/plain", charset="utf-8")
    response.headers.update(word)
    return response


def _asked(request: Any) -> Asked:
    return Asked(request.method, request.path, request.headers, request.host_url)


def _failure(refusal: Refusal) -> HTTPException:
    """The HTTP error that tells the user what perijove, or the way to it, said."""
    if refusal.location:
        return HTTPSeeOther(location=refusal.location)
    kind = status_map.get(refusal.status, HTTPInternalServerError)
    wait = [("Retry-After", str(refusal.retry_after))] if refusal.retry_after else None
    return kind(str(refusal), headers=wait)


def _notebook_settings(settings: Mapping[str, Any]) -> dict[str, Any]:
    """What the INI file says under `pyramid_notebook.`, in the words of the control socket.

    `websocket_proxy`, `websocket_url` and `port_base` have nothing to do here and are ignored.
    """
    found: dict[str, Any] = {}
    if domain := _text(settings, "alternative_domain"):
        found["domain"] = domain
    if folder := _text(settings, "notebook_folder"):
        found["folder"] = os.path.abspath(folder)
    if timeout := _text(settings, "kill_timeout"):
        if not (timeout.isascii() and timeout.isdigit()):
            raise ConfigurationError(
                f"`pyramid_notebook.kill_timeout` is `{timeout}`; "
                "hint: give whole seconds, such as 3600, or 0 for never"
            )
        found["kill-timeout"] = int(timeout)
    return found


def _text(settings: Mapping[str, Any], key: str) -> str:
    value = settings.get(f"pyramid_notebook.{key}")
    return "" if value is None else str(value).strip()


def _check_place(request: Any, url: str) -> None:
    """The site will be asked where the notebook is: there must be its view."""
    place = manners.place_on_site(url)
    try:
        route = request.route_path("notebook_proxy", remainder=())
    except LookupError:
        return  # a site may call its route differently; then it knows where it is
    if place is not None and not place.startswith(route):
        raise manners.no_view(url, f'set `path = "{route}"` under `[notebook]` in perijove.toml')
