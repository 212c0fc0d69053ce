"""What the views of every framework share: whom they let in, what they ask, what they answer.

Knows no framework. A view says by `Asked` what it was asked; a no is a `Refusal`, which the
framework's own module turns into its own kind of answer.
"""

from __future__ import annotations

import logging
import os
from collections.abc import Mapping
from dataclasses import dataclass, replace
from http import HTTPStatus
from typing import Any, Protocol
from urllib.parse import urlsplit

from . import alone
from .control import SOCKET_VARIABLE, Control, ControlError, Launch, Refused, Unreachable, canonical

log = logging.getLogger(__name__)

#: How long perijove may remember a yes, in seconds: whoever is struck off the site's list loses an
#: open websocket within five.
REMEMBERED = 4

#: `Sec-Fetch-Site` of other sites' pages. A sibling below the same domain is one, too: it may be
#: anybody's who has a name there.
OTHERS = ("cross-site", "same-site")

#: Fields by which a site knows its visitors: with them perijove asks it again, where a notebook is
#: on a domain to which the browser does not send them.
TELLING = ("Cookie", "Authorization", "User-Agent")

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


class Fields(Protocol):
    """Header fields, found in whichever case they are asked for: every framework has its own."""

    def get(self, name: str, /) -> str | None:
        """The value of one field, or None."""


@dataclass(frozen=True)
class Asked:
    """What a view was asked."""

    method: str
    #: The path on the site, for messages.
    path: str
    headers: Fields
    #: `scheme://host[:port]` by which the site was reached.
    origin: str

    @property
    def is_reading(self) -> bool:
        """Whether the method is one that a link has."""
        return self.method in ("GET", "HEAD")


class Refusal(Exception):
    """A no: `status` is HTTP's, the text says why and what to do about it."""

    def __init__(
        self, status: int, reason: str, *, location: str = "", retry_after: int = 0
    ) -> None:
        super().__init__(reason)
        self.status = status
        #: Where the user is to go instead, with status 303.
        self.location = location
        #: Seconds after which trying again may help; 0 when it will not.
        self.retry_after = retry_after


def launch(
    asked: Asked,
    username: str | None,
    context: Mapping[str, Any] | None,
    name: str | None,
    when_busy: str,
    settings: Mapping[str, Any] | None = None,
) -> Launch:
    """Start the user's notebook, or join it; raises `Refusal`.

    The address of the answer leads to a notebook, or to a page of perijove's that asks the user.
    """
    refuse_foreign(asked)
    user = _somebody(username)
    given = {key: value for key, value in (context or {}).items() if key not in FILLED_IN}
    try:
        hub = alone.join(asked.origin) if alone.is_alone() else None
        if hub and settings:
            # On a developer's machine they are at a port of their own.
            settings = {key: value for key, value in settings.items() if key != "domain"}
        launched = (hub.control if hub else Control()).launch(
            user,
            given,
            name,
            when_busy=when_busy,
            from_elsewhere=_is_from_elsewhere(asked),
            visitor=None if hub else _visitor(asked),
            settings=settings,
        )
        if hub:
            launched = replace(launched, url=hub.address(launched.url, asked.origin))
        # A redirect follows perijove only where it can mean it.
        is_path = launched.url.startswith("/") and not launched.url.startswith("//")
        if not (is_path or _is_elsewhere(launched.url)):
            raise Unreachable(f"`{launched.url}` is no notebook's address", "see perijove's log")
    except ControlError as error:
        raise _refusal(error) from error
    return launched


def shutdown(asked: Asked, username: str | None, name: str | None) -> None:
    """End the user's notebook with its kernels, if there is one; raises `Refusal`.

    A link on another site's page ends nothing: it leads to a page of perijove's that asks the user.
    """
    refuse_foreign(asked)
    user = _somebody(username)
    try:
        if alone.is_alone():
            _shutdown_alone(asked, user, name)
        elif not _is_from_elsewhere(asked):
            Control().stop(user, name)
        elif page := _page_that_asks(user, name):
            raise Refusal(303, "the user is asked first", location=page)
    except ControlError as error:
        raise _refusal(error) from error


def _shutdown_alone(asked: Asked, user: str, name: str | None) -> None:
    """The same where nobody is in front of the site, and no page could ask the user first."""
    if _is_from_elsewhere(asked):
        raise Refusal(403, "a notebook is shut down from a page of this site only")
    if hub := alone.join(asked.origin, starts=False):
        hub.control.stop(user, name)


def word(asked: Asked, username: str | None) -> dict[str, str]:
    """The header fields that answer perijove's question with a yes; raises `Refusal`.

    Perijove compares the decoded name with the owner of the notebook and may remember the answer
    for `REMEMBERED` seconds, unless the question is about a change.
    """
    user = _somebody(username)
    if asked.headers.get("Perijove-Question") != "notebook":
        raise _nobody_in_front(asked)
    is_change = (asked.headers.get("Perijove-Method") or "GET") not in ("GET", "HEAD")
    # `private` besides: caches within a site keep what does not say so.
    age = "no-store" if is_change else f"max-age={REMEMBERED}"
    return {"Perijove-User": canonical(user), "Cache-Control": f"private, {age}"}


def refuse_foreign(asked: Asked) -> None:
    """Launching and stopping change something, by GET too: no other site's page may do it unseen.

    A link that is followed (a top-level navigation) may come from anywhere. `Origin` counts where a
    browser does not say more, since its scheme is wrong behind a proxy that is not trusted.
    """
    site = asked.headers.get("Sec-Fetch-Site")
    is_foreign = site in OTHERS and not _is_followed(asked)
    if not asked.is_reading and site not in ("same-origin", "none"):
        is_foreign |= asked.headers.get("Origin") not in (None, asked.origin)
    if is_foreign:
        raise Refusal(403, "this request comes from a page of another site")


def place_on_site(url: str) -> str | None:
    """The path of a notebook's address; None when it is on an origin of its own."""
    return None if _is_elsewhere(url) else urlsplit(url).path


def no_view(url: str, hint: str) -> Refusal:
    """The site has no view where its notebook is: perijove would ask there, and hear a no."""
    reason = f"the notebook is at `{url}`, but the site has no view for it there; hint: {hint}"
    log.error("%s", reason)
    return Refusal(500, reason)


def _somebody(username: str | None) -> str:
    """A view that forgot its permission must not open a shell for nobody."""
    if not username:
        raise Refusal(403, "a notebook belongs to a user, and nobody is signed in")
    return username


def _page_that_asks(user: str, name: str | None) -> str:
    """Where perijove asks the user whether a notebook is to end; empty when none runs."""
    known = Control().status(user, name)
    if known is None or known.url is None or known.state in ("absent", "failed"):
        return ""
    place = f"/{canonical(user)}/" + (f"~{name}/" if name else "")
    # On the site, which leads on to wherever the notebook is.
    before, found, _ = urlsplit(known.url).path.partition(place)
    if not found:
        raise Refusal(403, "a notebook is shut down from a page of this site only")
    return f"{before}{found}-/stop"


def _visitor(asked: Asked) -> dict[str, Any]:
    """Who has come for the notebook, and by which name of the site."""
    told = {name: value for name in TELLING if (value := asked.headers.get(name))}
    if not told.keys() - {"User-Agent"}:
        return {}
    visitor: dict[str, Any] = {"origin": asked.origin, "fields": told}
    if address := asked.headers.get("X-Real-IP"):
        visitor["address"] = address
    return visitor


def _is_followed(asked: Asked) -> bool:
    get = asked.headers.get
    return get("Sec-Fetch-Mode") == "navigate" and get("Sec-Fetch-Dest") == "document"


def _is_from_elsewhere(asked: Asked) -> bool:
    """Whether the user followed a link that stands on another site's page."""
    return asked.headers.get("Sec-Fetch-Site") in OTHERS


def _is_elsewhere(url: str) -> bool:
    return url.startswith(("http://", "https://"))


def _nobody_in_front(asked: Asked) -> Refusal:
    if os.environ.get(SOCKET_VARIABLE):
        reason = (
            f"`{asked.path}` reached the site, but perijove serves its notebooks under another "
            "address; hint: set `path` under `[notebook]` in perijove.toml to the path of this view"
        )
    else:
        reason = (
            f"`{asked.path}` is a notebook's address, and perijove is not in front of this site; "
            "hint: start the site with `perijove serve`"
        )
    log.error("%s", reason)
    return Refusal(500, reason)


def _refusal(error: ControlError) -> Refusal:
    """What perijove, or the way to it, said."""
    log.error("%s", error)
    if isinstance(error, Unreachable):
        return Refusal(503, str(error), retry_after=2)
    # A refused secret is this installation's fault, not the visitor's.
    if isinstance(error, Refused) and error.status not in (401, 403):
        known = {status.value for status in HTTPStatus if status >= 400}
        return Refusal(error.status if error.status in known else 500, str(error))
    return Refusal(500, str(error))
