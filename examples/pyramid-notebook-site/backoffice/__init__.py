"""A back office written for pyramid_notebook 0.x, as its documentation said a site should be."""

import contextlib
import os
import secrets

from pyramid.authentication import SessionAuthenticationPolicy
from pyramid.authorization import ACLAuthorizationPolicy
from pyramid.config import Configurator
from pyramid.session import SignedCookieSessionFactory
from sqlalchemy import engine_from_config

from . import models
from .security import Root, find_groups, get_user


def main(global_config, **settings):
    # The notebooks need to know the file this application was started from.
    settings["backoffice.global_config"] = global_config
    os.makedirs(os.path.join(global_config["here"], "var"), mode=0o700, exist_ok=True)

    engine = engine_from_config(settings)
    models.DBSession.configure(bind=engine)
    models.create(engine)

    config = Configurator(
        settings=settings,
        root_factory=Root,
        authentication_policy=SessionAuthenticationPolicy(callback=find_groups),
        authorization_policy=ACLAuthorizationPolicy(),
        session_factory=SignedCookieSessionFactory(_secret(global_config["here"])),
    )
    config.include("pyramid_notebook")
    config.add_request_method(get_user, "user", reify=True)
    config.add_route("home", "/")
    config.add_route("login", "/login")
    config.add_route("admin_shell", "/admin/shell")
    config.add_route("shutdown_notebook", "/notebook/shutdown")
    config.add_route("notebook_proxy", "/notebook/*remainder")
    config.scan()
    return config.make_wsgi_app()


def _secret(folder):
    """One secret for all workers, readable by this account only."""
    path = os.path.join(folder, "var", "session.secret")
    # A shell that runs the application may read here, and not write.
    if not os.path.exists(path):
        draft = f"{path}.{os.getpid()}"
        with open(os.open(draft, os.O_CREAT | os.O_WRONLY | os.O_TRUNC, 0o600), "w") as file:
            file.write(secrets.token_hex(32))
        with contextlib.suppress(FileExistsError):
            os.link(draft, path)
        os.unlink(draft)
    with open(path) as file:
        return file.read()
