"""For Starlette and FastAPI sites: what a site's own endpoints call.

Who may have a notebook is decided by the site: its endpoints check the login and the permission,
then call `launch_notebook`, `shutdown_notebook` or `notebook_proxy` with the user's name. Requests
to notebooks do not pass through the site: perijove asks its `notebook_proxy` endpoint who a visitor
is.
"""

from __future__ import annotations

import importlib
from collections.abc import Mapping
from typing import Any

from starlette.concurrency import run_in_threadpool
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import RedirectResponse, Response
from starlette.routing import Match

from . import manners, startup
from .manners import Asked, Refusal

__all__ = ["launch_notebook", "make_startup", "notebook_proxy", "shutdown_notebook"]

#: The same link leads to another notebook when what it starts with has changed.
UNKEPT = {"Cache-Control": "no-store"}

#: Loads the application. Sites often name files relative to where they are started.
LOAD_APP = """\
def _load_site():
    import importlib

    before = os.getcwd()
    os.chdir(project_root_path)
    try:
        return getattr(importlib.import_module({module!r}), {name!r})
    finally:
        os.chdir(before)


app = _load_site()
"""

GREETING = """
Available variables and functions:

* **app** – the site's application, `{app}`; its lifespan has not run here

A cell may `await`.
"""


async def launch_notebook(
    request: Request,
    username: str | None,
    context: Mapping[str, Any] | None = None,
    name: str | None = None,
    *,
    when_busy: str = "ask",
) -> RedirectResponse:
    """Start the user's notebook, or join it, and return the redirect that leads there.

    `context` holds what the notebook starts with (`perijove.startup` builds it); as long as it
    stays the same, the same notebook is joined, and another one replaces it: while a kernel
    computes, the user is asked first, unless `when_busy="replace"`. With a `name` the user has a
    further notebook beside the first. The event loop goes on meanwhile; an endpoint that is no
    coroutine calls this by `anyio.from_thread.run`.

    Raises an HTTP error that says what to do when there is no user, when another site's page asks,
    or when perijove cannot start the notebook.
    """
    asked = _asked(request)
    try:
        launch = await run_in_threadpool(manners.launch, asked, username, context, name, when_busy)
        _check_place(request, launch.url)
    except Refusal as refusal:
        raise _failure(refusal) from refusal
    return RedirectResponse(launch.url, 302 if asked.is_reading else 303, UNKEPT)


async def shutdown_notebook(
    request: Request, username: str | None, name: str | None = None
) -> None:
    """End the user's notebook with its kernels; nothing happens when there is none.

    A link on another site's page ends nothing: it leads to a page of perijove's that asks the user.
    """
    try:
        await run_in_threadpool(manners.shutdown, _asked(request), username, name)
    except Refusal as refusal:
        raise _failure(refusal) from refusal


def notebook_proxy(request: Request, username: str | None) -> Response:
    """Answer perijove's question who asks for a notebook; the site has checked it before.

    It waits for nothing, and is no coroutine: endpoints of both kinds call it.
    """
    try:
        word = manners.word(_asked(request), username)
    except Refusal as refusal:
        raise _failure(refusal) from refusal
    return Response(b"", headers=word, media_type="text/plain")


def make_startup(context: dict[str, Any], app: str) -> None:
    """Prepare a shell with the site's application, `module:name`.

    Models of SQLAlchemy or SQLModel are added by `perijove.startup.include_sqlalchemy_models`. The
    kernel's environment is not the site's: what the application reads there, `[notebook]
    environment` must give.
    """
    module, _, name = app.partition(":")
    importlib.import_module(module)
    startup.add_project(context, startup.project_of(module))
    startup.add_script(context, LOAD_APP.format(module=module, name=name or "app"))
    startup.add_greeting(context, GREETING.format(app=app))


def _asked(request: Request) -> Asked:
    url = request.url
    return Asked(request.method, url.path, request.headers, f"{url.scheme}://{url.netloc}")


def _failure(refusal: Refusal) -> HTTPException:
    if refusal.location:
        return HTTPException(303, headers={"Location": refusal.location, **UNKEPT})
    wait = {"Retry-After": str(refusal.retry_after)} if refusal.retry_after else None
    return HTTPException(refusal.status, str(refusal), wait)


def _check_place(request: Request, url: str) -> None:
    """The site will be asked where the notebook is: there must be an endpoint of its own."""
    place = manners.place_on_site(url)
    # An application that is mounted somewhere does not see what lies beside it.
    if place is None or request.scope.get("root_path"):
        return
    scope = {"type": "http", "method": "GET", "path": place, "root_path": "", "headers": []}
    if all(route.matches(scope)[0] is Match.NONE for route in request.app.routes):
        hint = (
            "add a route for `/notebook/{remainder:path}`, with the path that `[notebook]` in "
            "perijove.toml says"
        )
        raise manners.no_view(url, hint)
