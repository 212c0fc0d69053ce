"""For Flask sites: what a site's own views call once they know who asks.

Who may have a notebook is decided by the site: its views check the login and the permission, then
call `launch_notebook`, `shutdown_notebook` or `notebook_proxy` with the user's name; the request is
Flask's own. Requests to notebooks do not pass through the site: perijove asks its `notebook_proxy`
view who a visitor is.
"""

from __future__ import annotations

import importlib
import sys
from collections.abc import Callable, Mapping
from typing import Any, NoReturn

from flask import Blueprint, Response, abort, current_app, redirect, request
from werkzeug.exceptions import (
    HTTPException,
    InternalServerError,
    ServiceUnavailable,
    default_exceptions,
)

from . import manners, startup
from .manners import Asked, Refusal

__all__ = ["blueprint", "launch_notebook", "make_startup", "notebook_proxy", "shutdown_notebook"]

#: Loads the application as `flask shell` does, and enters its context for as long as the kernel
#: lives. Sites often name files relative to where they are started.
LOAD_APP = """\
def _load_site():
    from flask.cli import ScriptInfo

    before = os.getcwd()
    os.chdir(project_root_path)
    try:
        return ScriptInfo(app_import_path={place!r}).load_app()
    finally:
        os.chdir(before)


app = _load_site()
app.app_context().push()
globals().update(app.make_shell_context())
"""

GREETING = """
Available variables and functions:

* **app** – the site, a [Flask](https://flask.palletsprojects.com/api/#flask.Flask) application;
  its context is entered, so **g** and `current_app` work
"""


def launch_notebook(
    username: str | None,
    context: Mapping[str, Any] | None = None,
    name: str | None = None,
    *,
    when_busy: str = "ask",
) -> Any:
    """Start the user's notebook, or join it, and return the redirect that leads there.

    `context` holds what the notebook starts with (`perijove.startup` builds it); as long as it
    stays the same, the same notebook is joined, and another one replaces it: while a kernel
    computes, the user is asked first, unless `when_busy="replace"`. With a `name` the user has a
    further notebook beside the first.

    Aborts with an error that says what to do when there is no user, when another site's page asks,
    or when perijove cannot start the notebook.
    """
    asked = _asked()
    try:
        launch = manners.launch(asked, username, context, name, when_busy)
        _check_place(launch.url)
    except Refusal as refusal:
        _abort(refusal)
    # The same link leads to another notebook when what it starts with has changed.
    return _unkept(redirect(launch.url, 302 if asked.is_reading else 303))


def shutdown_notebook(username: str | None, name: str | None = None) -> None:
    """End the user's notebook with its kernels; nothing happens when there is none.

    A link on another site's page ends nothing: it leads to a page of perijove's that asks the user.
    """
    try:
        manners.shutdown(_asked(), username, name)
    except Refusal as refusal:
        _abort(refusal)


def notebook_proxy(username: str | None) -> Response:
    """Answer perijove's question who asks for a notebook; the site has checked it before."""
    try:
        word = manners.word(_asked(), username)
    except Refusal as refusal:
        _abort(refusal)
    return Response(b"", mimetype="text/plain", headers=word)


def blueprint(
    who: Callable[[], Any], *, path: str = "/notebook/", home: str = "/", name: str = "perijove"
) -> Blueprint:
    """The views for perijove's question and for shutting down, below `path`.

    `who()` says who the visitor is and may have a notebook: it returns the user's name, or None
    for a 403, or aborts, or returns a response of its own, such as a redirect to the login. After
    a shutdown the user is sent to `home`.
    """
    views = Blueprint(name, __name__)
    path = f"/{path.strip('/')}/"

    def notebook(**_remainder: str) -> Any:
        user = who()
        return notebook_proxy(user) if user is None or isinstance(user, str) else user

    def shutdown() -> Any:
        user = who()
        if not (user is None or isinstance(user, str)):
            return user
        shutdown_notebook(user)
        return redirect(home, 303)

    views.add_url_rule(f"{path}shutdown", "shutdown", shutdown, methods=["GET", "POST"])
    # A file's address may have two slashes in a row: Flask would redirect perijove's question.
    views.add_url_rule(path, "notebook", notebook, merge_slashes=False)
    views.add_url_rule(f"{path}<path:remainder>", "notebook", notebook, merge_slashes=False)
    return views


def make_startup(context: dict[str, Any], app: str = "") -> None:
    """Prepare a shell in this site: the application loaded, its context entered, the models there.

    `app` is what `flask --app` takes, such as `shop:create_app("development")`; by default the
    module that the running application was made in, whose `app` or `create_app` is found. With
    Flask-SQLAlchemy **db** and the models are there as well. The kernel's environment is not the
    site's: what the application reads there, `[notebook] environment` must give.
    """
    module, _, rest = (app or current_app.import_name).partition(":")
    importlib.import_module(module)
    place = str(sys.modules[module].__file__) + (f":{rest}" if rest else "")
    startup.add_project(context, startup.project_of(module))
    startup.add_script(context, LOAD_APP.format(place=place))
    startup.add_greeting(context, GREETING)
    if database := current_app.extensions.get("sqlalchemy"):
        startup.add_script(context, 'db = app.extensions["sqlalchemy"]')
        startup.add_greeting(context, "* **db** – Flask-SQLAlchemy; `db.session` is the database")
        startup.include_sqlalchemy_models(context, database.Model)


def _asked() -> Asked:
    return Asked(request.method, request.path, request.headers, request.host_url.rstrip("/"))


def _abort(refusal: Refusal) -> NoReturn:
    """A refusal as an error of Flask's, which the site's own error pages may show."""
    if refusal.location:
        abort(_unkept(redirect(refusal.location, 303)))
    if refusal.retry_after:
        raise ServiceUnavailable(str(refusal), retry_after=refusal.retry_after) from refusal
    kind = default_exceptions.get(refusal.status, InternalServerError)
    raise kind(str(refusal)) from refusal


def _unkept(response: Any) -> Any:
    response.headers["Cache-Control"] = "no-store"
    return response


def _check_place(url: str) -> None:
    """The site will be asked where the notebook is: there must be a view of its own."""
    place = manners.place_on_site(url)
    # What lies beside an application that is mounted somewhere is not the application's.
    if place is None or not place.startswith(f"{request.script_root}/"):
        return
    routes = current_app.url_map.bind(request.host.partition(":")[0])
    try:
        routes.match(place.removeprefix(request.script_root), "GET")
    except HTTPException:
        hint = (
            "register `perijove.flask.blueprint`, with the path that `[notebook]` in perijove.toml "
            "says"
        )
        raise manners.no_view(url, hint) from None
