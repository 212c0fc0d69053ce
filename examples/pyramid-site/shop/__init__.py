"""Leaf & Kettle, a tea shop's back office: builds the Pyramid application."""

from __future__ import annotations

import secrets
from pathlib import Path
from typing import Any

from pyramid.config import Configurator
from pyramid.session import SignedCookieSessionFactory
from pyramid.settings import asbool

from . import accounts, models, seed
from .once import make_once

#: A login lasts this long without a visit, in seconds.
LOGIN_LASTS = 12 * 3600

#: Pages load nothing from elsewhere and are framed by nobody.
HEADERS = {
    "Content-Security-Policy": "default-src 'self'; frame-ancestors 'none'; form-action 'self'",
    "Referrer-Policy": "same-origin",
    "X-Content-Type-Options": "nosniff",
}


def main(global_config: dict[str, str], **settings: Any) -> Any:
    """The WSGI application, from the section `app:main` of the configuration file."""
    folder = Path(settings["shop.folder"])
    folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    database = folder / "shop.sqlite"
    make_once(database, seed.fill)
    settings["shop.database"] = str(database)
    settings["shop.config_file"] = global_config.get("__file__")

    config = Configurator(
        settings=settings,
        security_policy=accounts.Policy(),
        session_factory=_sessions(folder, settings),
    )
    config.include("pyramid_jinja2")
    config.include("perijove.pyramid")
    config.set_default_csrf_options(require_csrf=True, callback=accounts.is_browser)
    config.add_request_method(models.request_session, "db", reify=True)
    config.add_request_method(accounts.may_open_shell, "may_open_shell", reify=True)
    config.add_subscriber(_add_headers, "pyramid.events.NewResponse")
    config.registry["shop.sessions"] = models.sessions(str(database))
    _add_routes(config)
    config.scan(".views")
    config.scan(".shells")
    return config.make_wsgi_app()


def _add_routes(config: Configurator) -> None:
    config.add_route("home", "/")
    config.add_route("login", "/login")
    config.add_route("logout", "/logout")
    config.add_route("orders", "/orders")
    config.add_route("order", r"/orders/{id:\d{1,9}}")
    config.add_route("shell1", "/shell1")
    config.add_route("shell2", "/shell2")
    config.add_route("order_shell", r"/orders/{id:\d{1,9}}/shell")
    # Before the notebooks, since it lies below their path.
    config.add_route("shutdown_notebook", "/notebook/shutdown")
    config.add_route("notebook_proxy", "/notebook/*remainder")


def _sessions(folder: Path, settings: dict[str, Any]) -> Any:
    """Login cookies, signed with a secret that is made here and that no other account can read."""
    path = folder / "session.secret"
    make_once(path, lambda draft: draft.write_text(secrets.token_hex(32)))
    return SignedCookieSessionFactory(
        path.read_text(),
        cookie_name="shop",
        httponly=True,
        samesite="Lax",
        secure=asbool(settings.get("shop.https")),
        timeout=LOGIN_LASTS,
        # Rarely, so that perijove's questions do not change the cookie it knows the visitor by.
        reissue_time=600,
    )


def _add_headers(event: Any) -> None:
    event.response.headers.update(HEADERS)
