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
    HTTPForbidden,
    HTTPFound,
    HTTPInternalServerError,
    HTTPSeeOther,
    HTTPServiceUnavailable,
    status_map,
)
from pyramid.response import Response

from .control import SOCKET_VARIABLE, Control, ControlError, Launch, Refused, Unreachable, canonical

__all__ = ["includeme", "launch_notebook", "notebook_proxy", "shutdown_notebook"]

log = logging.getLogger(__name__)

#: How long perijove may remember a yes, in seconds: whoever is struck off the site's list loses an
#: open websocket within five.
REMEMBERED = 4

#: `Sec-Fetch-Site` of other sites' pages. A sibling below the same domain is one, too: it may be
#: anybody's who has a name there.
OTHERS = ("cross-site", "same-site")

#: What the original's framework put into a context by itself; it says nothing about a launch here.
FILLED_IN = frozenset(
    {
        "allow_origin",
        "http_port",
        "jinja_environment_options",
        "kill_timeout",
        "notebook_name",
        "notebook_path",
        "pid",
        "terminated",
        "websocket_url",
    }
)


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
    when_busy: str = "replace",
) -> HTTPException:
    """Start the user's notebook, or join it, and return the redirect that leads there.

    `notebook_context` holds what the notebook starts with (`perijove.startup` builds it); as long
    as it stays the same, the same notebook is joined, and another one replaces it. With a `name`
    the user has a further notebook beside the first. `when_busy="ask"` asks the user before a
    notebook that computes is replaced.

    Raises an HTTP error that says what to do when there is no user, when another site's page asks,
    or when perijove cannot start the notebook.
    """
    launch = _launch(request, username, notebook_context, name, when_busy)
    # A browser repeats the method on 302 nowhere but by custom: a form's launch says it outright.
    redirect = HTTPFound if request.method in ("GET", "HEAD") else HTTPSeeOther
    return redirect(location=launch.url)


def shutdown_notebook(request: Any, username: str, name: str | None = None) -> None:
    """End the user's notebook with its kernels; nothing happens when there is none.

    A page of another site may open a notebook by a link, but never end one.
    """
    _refuse_foreign(request)
    if request.headers.get("Sec-Fetch-Site") in OTHERS:
        raise HTTPForbidden("a notebook is shut down from a page of this site only")
    user = _somebody(username)
    try:
        Control().stop(user, name)
    except ControlError as error:
        raise _failure(error) from error


def notebook_proxy(request: Any, username: str) -> Response:
    """Answer perijove's question who asks for a notebook; the site has checked it before.

    The answer is 200 with `Perijove-User`: the user's name in its canonical form, where everything
    but `A–Z a–z 0–9 - _ ~` is percent-encoded, since a header cannot carry every name. Perijove
    compares the decoded name with the owner of the notebook and may remember the answer for
    `REMEMBERED` seconds, unless the question is about a change.
    """
    user = _somebody(username)
    if request.headers.get("Perijove-Question") != "notebook":
        raise _nobody_in_front(request)
    response = Response(body=b"", content_type="text/plain", charset="utf-8")
    response.headers["Perijove-User"] = canonical(user)
    changes = request.headers.get("Perijove-Method", "GET") not in ("GET", "HEAD")
    response.headers["Cache-Control"] = "no-store" if changes else f"private, max-age={REMEMBERED}"
    return response


def _launch(
    request: Any,
    username: str,
    notebook_context: Mapping[str, Any] | None,
    name: str | None = None,
    when_busy: str = "replace",
) -> Launch:
    _refuse_foreign(request)
    user = _somebody(username)
    given = dict(notebook_context or {})
    context = {key: value for key, value in given.items() if key not in FILLED_IN}
    try:
        settings = _notebook_settings(request.registry.settings or {})
        launch = Control().launch(user, context, name, when_busy=when_busy, settings=settings)
    except ConfigurationError as error:
        log.error("cannot launch a notebook: %s", error)
        raise HTTPInternalServerError(str(error)) from error
    except ControlError as error:
        raise _failure(error) from error
    _check_address(request, launch.url)
    return launch


def _somebody(username: str) -> str:
    """A view that forgot its permission must not open a shell for nobody."""
    if not username:
        raise HTTPForbidden("a notebook belongs to a user, and nobody is signed in")
    return username


def _refuse_foreign(request: Any) -> None:
    """Launching and stopping change something, by GET too: no other site's page may do it unseen.

    A link that is followed (a top-level navigation) may come from anywhere. `Origin` counts where a
    browser does not say more, since its scheme is wrong behind a proxy that is not trusted.
    """
    headers = request.headers
    site = headers.get("Sec-Fetch-Site")
    is_followed = (
        headers.get("Sec-Fetch-Mode") == "navigate" and headers.get("Sec-Fetch-Dest") == "document"
    )
    is_foreign = site in OTHERS and not is_followed
    if request.method not in ("GET", "HEAD") and site not in ("same-origin", "none"):
        is_foreign |= headers.get("Origin") not in (None, request.host_url)
    if is_foreign:
        raise HTTPForbidden("this request comes from a page of another site")


def _notebook_settings(settings: Mapping[str, Any]) -> dict[str, Any]:
    """What the INI file says under `pyramid_notebook.`, in the words of the control socket.

    `websocket_proxy`, `websocket_url` and `port_base` have nothing to do here and are ignored.
    """
    if _text(settings, "alternative_domain"):
        raise ConfigurationError(
            "`pyramid_notebook.alternative_domain` is set, but notebooks on a domain of their own "
            "are not supported yet; hint: remove the setting, and serve notebooks under the site"
        )
    found: dict[str, Any] = {}
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


def _check_address(request: Any, url: str) -> None:
    """Follow perijove only where it can mean it, and where the site will be asked."""
    if url.startswith(("http://", "https://")):
        return
    if not url.startswith("/") or url.startswith("//"):
        raise _failure(Unreachable(f"`{url}` is no notebook's address", "see perijove's log"))
    try:
        place = request.route_path("notebook_proxy", remainder=())
    except LookupError:
        return  # a site may call its route differently; then it knows where it is
    if not url.startswith(place):
        raise _failure(
            Refused(
                500,
                f"the notebook is at `{url}`, but the site's route `notebook_proxy` is `{place}`",
                f'set `path = "{place}"` under `[notebook]` in perijove.toml',
            )
        )


def _nobody_in_front(request: Any) -> HTTPException:
    path = request.path
    if os.environ.get(SOCKET_VARIABLE):
        reason = (
            f"`{path}` reached the site, but perijove serves its notebooks under another address; "
            "hint: set `path` under `[notebook]` in perijove.toml to the path of this route"
        )
    else:
        reason = (
            f"`{path}` is a notebook's address, and perijove is not in front of this site; "
            "hint: start the site with `perijove serve`"
        )
    log.error("%s", reason)
    return HTTPInternalServerError(reason)


def _failure(error: ControlError) -> HTTPException:
    """The HTTP error that tells the user what perijove, or the way to it, said."""
    log.error("%s", error)
    if isinstance(error, Unreachable):
        return HTTPServiceUnavailable(str(error), headers=[("Retry-After", "2")])
    # A refused secret is this installation's fault, not the visitor's.
    if isinstance(error, Refused) and error.status not in (401, 403):
        kind = status_map.get(error.status, HTTPInternalServerError)
        if error.status >= 400:
            return kind(str(error))
    return HTTPInternalServerError(str(error))
