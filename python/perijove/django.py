"""For Django sites: what a site's own views call once they know who asks.

Who may have a notebook is decided by the site: its views check the login and the permission, then
call `launch_notebook`, `shutdown_notebook` or `notebook_proxy` with the user's name. Requests to
notebooks do not pass through the site: perijove asks its `notebook_proxy` view who a visitor is.
"""

from __future__ import annotations

import importlib
from collections.abc import Mapping
from typing import Any

from asgiref.sync import sync_to_async
from django.apps import apps
from django.conf import settings
from django.core.exceptions import PermissionDenied
from django.http import HttpRequest, HttpResponse, HttpResponseRedirect
from django.urls import Resolver404, get_script_prefix, resolve

from . import manners, startup
from .manners import Asked, Refusal

__all__ = [
    "alaunch_notebook",
    "ashutdown_notebook",
    "launch_notebook",
    "make_startup",
    "notebook_proxy",
    "shutdown_notebook",
]

#: Sets a kernel up as `manage.py shell` does. A cell runs within an event loop, where Django would
#: refuse to ask its database; nothing else runs in this loop that could be kept waiting.
SET_UP = """\
os.environ["DJANGO_SETTINGS_MODULE"] = {settings!r}
os.environ["DJANGO_ALLOW_ASYNC_UNSAFE"] = "true"
import django

django.setup()
from django.conf import settings
from django.db import connection, transaction
from django.db.models import Avg, Count, F, Max, Min, Prefetch, Q, Sum
from django.urls import reverse
from django.utils import timezone
"""

GREETING = """
Available variables and functions:

* **settings**, **connection**, **transaction**, **timezone**, **reverse**
  – Django's, with the settings `{settings}`

* **Avg**, **Count**, **F**, **Max**, **Min**, **Prefetch**, **Q**, **Sum**
  – for [queries](https://docs.djangoproject.com/en/stable/topics/db/queries/)
"""


def launch_notebook(
    request: HttpRequest,
    username: str | None,
    context: Mapping[str, Any] | None = None,
    name: str | None = None,
    *,
    when_busy: str = "ask",
) -> HttpResponse:
    """Start the user's notebook, or join it, and return the redirect that leads there.

    `context` holds what the notebook starts with (`perijove.startup` builds it); as long as it
    stays the same, the same notebook is joined, and another one replaces it: while a kernel
    computes, the user is asked first, unless `when_busy="replace"`. With a `name` the user has a
    further notebook beside the first.

    Where perijove cannot start it, the answer says why and what to do. Raises `PermissionDenied`
    when there is no user, or when another site's page asks.
    """
    asked = _asked(request)
    try:
        launch = manners.launch(asked, username, context, name, when_busy)
        _check_place(launch.url)
    except Refusal as refusal:
        return _answer(refusal)
    return _redirect(launch.url, 302 if asked.is_reading else 303)


def shutdown_notebook(
    request: HttpRequest, username: str | None, name: str | None = None
) -> HttpResponse | None:
    """End the user's notebook with its kernels; None when that is done, or there was none.

    What is returned otherwise is for the user to see, since nothing was ended:
    `return shutdown_notebook(request, username) or redirect("home")`.
    """
    try:
        manners.shutdown(_asked(request), username, name)
    except Refusal as refusal:
        return _answer(refusal)
    return None


def notebook_proxy(request: HttpRequest, username: str | None) -> HttpResponse:
    """Answer perijove's question who asks for a notebook; the site has checked it before.

    It waits for nothing, so a coroutine may call it too.
    """
    try:
        word = manners.word(_asked(request), username)
    except Refusal as refusal:
        return _answer(refusal)
    return HttpResponse(b"", content_type="text/plain; charset=utf-8", headers=word)


#: The same for views that are coroutines; the event loop goes on meanwhile.
alaunch_notebook = sync_to_async(launch_notebook, thread_sensitive=False)
ashutdown_notebook = sync_to_async(shutdown_notebook, thread_sensitive=False)


def make_startup(context: dict[str, Any], settings_module: str = "") -> None:
    """Prepare a shell in this project: Django set up, and the models of all apps imported.

    `settings_module` is by default the one that the site itself runs with. The kernel's environment
    is not the site's: what the settings read there, `[notebook] environment` must give.
    """
    module = settings_module or getattr(settings, "SETTINGS_MODULE", "")
    if not module:
        raise ValueError("the site has no settings module; hint: name one by `settings_module`")
    importlib.import_module(module)
    startup.add_project(context, startup.project_of(module))
    startup.add_script(context, SET_UP.format(settings=module))
    startup.add_greeting(context, GREETING.format(settings=module))
    # In an order that is the same in every process, since the context's hash depends on it.
    models: list[Any] = sorted(apps.get_models(), key=_label)
    startup.include_classes(context, models)


def _label(model: Any) -> str:
    return str(model._meta.label)


def _asked(request: HttpRequest) -> Asked:
    origin = f"{request.scheme}://{request.get_host()}"
    return Asked(request.method or "GET", request.path, request.headers, origin)


def _answer(refusal: Refusal) -> HttpResponse:
    """A refusal as a page of Django's; a 403 is raised, so that no view overlooks it."""
    if refusal.status == 403:
        raise PermissionDenied(str(refusal)) from refusal
    if refusal.location:
        return _redirect(refusal.location, 303)
    response = HttpResponse(
        f"{refusal}\n", content_type="text/plain; charset=utf-8", status=refusal.status
    )
    response["Cache-Control"] = "no-store"
    if refusal.retry_after:
        response["Retry-After"] = str(refusal.retry_after)
    return response


def _redirect(url: str, status: int) -> HttpResponse:
    response = HttpResponseRedirect(url)
    response.status_code = status
    # The same link leads to another notebook when what it starts with has changed.
    response["Cache-Control"] = "no-store"
    return response


def _check_place(url: str) -> None:
    """The site will be asked where the notebook is: there must be a view of its own."""
    place = manners.place_on_site(url)
    prefix = get_script_prefix()
    # What lies beside a project that is mounted somewhere is not the project's.
    if place is None or not place.startswith(prefix):
        return
    try:
        resolve(f"/{place.removeprefix(prefix)}")
    except Resolver404:
        hint = (
            'add `re_path(r"^notebook/", …)` to the urlpatterns, with the path that '
            "`[notebook]` in perijove.toml says"
        )
        raise manners.no_view(url, hint) from None
