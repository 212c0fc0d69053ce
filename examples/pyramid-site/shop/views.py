"""The shop's own pages: figures, orders, signing in and out."""

from __future__ import annotations

from collections import Counter
from typing import Any

from perijove.control import Control, ControlError, Notebook
from pyramid.httpexceptions import (
    HTTPBadRequest,
    HTTPError,
    HTTPForbidden,
    HTTPNotFound,
    HTTPSeeOther,
)
from pyramid.security import remember
from pyramid.view import (
    exception_view_config,
    forbidden_view_config,
    notfound_view_config,
    view_config,
)
from sqlalchemy import select

from . import charts
from .accounts import is_password
from .models import Order

LATEST = 12


@view_config(route_name="home", renderer="templates/home.jinja2")
def home(request: Any) -> dict[str, Any]:
    """Figures for everybody; notebooks for who may."""
    orders = request.db.scalars(select(Order).order_by(Order.placed)).all()
    months: Counter[Any] = Counter()
    kinds: Counter[str] = Counter()
    for order in orders:
        months[order.placed.replace(day=1)] += order.total
        for line in order.lines:
            kinds[line.product.kind] += line.total
    revenue = sum(months.values())
    return {
        "months": charts.columns([(f"{month:%b %y}", euros) for month, euros in months.items()]),
        "kinds": charts.rows(kinds.most_common()),
        "revenue": revenue,
        "count": len(orders),
        "average": revenue / len(orders),
        "latest": orders[: -LATEST - 1 : -1],
        "notebook": _notebook(request),
    }


@view_config(route_name="orders", renderer="templates/orders.jinja2", permission="view")
def orders(request: Any) -> dict[str, Any]:
    """All orders, newest first."""
    return {"orders": request.db.scalars(select(Order).order_by(Order.id.desc())).all()}


@view_config(route_name="order", renderer="templates/order.jinja2", permission="view")
def order(request: Any) -> dict[str, Any]:
    """One order, and the way to a shell on it."""
    found = request.db.get(Order, int(request.matchdict["id"]))
    if found is None:
        raise HTTPNotFound("there is no such order")
    return {"order": found}


@view_config(route_name="login", renderer="templates/login.jinja2")
def login(request: Any) -> Any:
    """Ask for a name and a password, and lead back to where the visitor came from."""
    after = _local(request.params.get("next", ""))
    user = request.POST.get("username", "")
    if request.method == "POST":
        if is_password(user, request.POST.get("password", "")):
            return HTTPSeeOther(after, headers=remember(request, user))
        request.response.status_int = 403
    return {"after": after, "username": user, "is_wrong": request.method == "POST"}


@view_config(route_name="logout")
def logout(request: Any) -> Any:
    """Sign out; the notebook keeps running."""
    if request.headers.get("Sec-Fetch-Site") == "cross-site":
        raise HTTPForbidden("sign out from a page of this site")
    request.session.invalidate()
    return HTTPSeeOther(request.route_path("home"))


@forbidden_view_config(renderer="templates/error.jinja2")
def forbidden(error: Any, request: Any) -> Any:
    """Strangers are asked to sign in; others are told no."""
    if request.identity is None:
        after = {"next": request.path_qs} if request.method == "GET" else {}
        return HTTPSeeOther(request.route_path("login", _query=after))
    return _told(error, request, getattr(error.result, "msg", None) or error.detail)


@notfound_view_config(renderer="templates/error.jinja2")
@exception_view_config(HTTPError, renderer="templates/error.jinja2")
def failed(error: Any, request: Any) -> Any:
    """Whatever went wrong, in the site's own clothes."""
    return _told(error, request, error.detail or error.explanation)


@exception_view_config(UnicodeDecodeError, renderer="templates/error.jinja2")
def unreadable(_error: Any, request: Any) -> Any:
    """A path or a form that is not UTF-8: the visitor's mistake, not the site's."""
    return _told(HTTPBadRequest(), request, "this address, or what was sent, cannot be read")


def _told(error: Any, request: Any, reason: str) -> dict[str, Any]:
    request.response.status_int = error.status_int
    for name in ("Retry-After",):
        if name in error.headers:
            request.response.headers[name] = error.headers[name]
    return {"title": error.title, "reason": reason}


def _notebook(request: Any) -> Notebook | None:
    """The visitor's notebook, where perijove can be asked for it."""
    if not request.may_open_shell:
        return None
    try:
        return Control(timeout=1).status(request.identity)
    except ControlError:
        return None


def _local(place: str) -> str:
    """A path of this site, never an address elsewhere."""
    is_path = place.startswith("/") and not place.startswith(("//", "/\\"))
    return place if is_path and place.isprintable() else "/"
