"""A Pyramid site with twenty users: a cookie says who they are, and each may have a shell."""

from __future__ import annotations

import re
from typing import Any

from perijove.pyramid import launch_notebook, notebook_proxy, shutdown_notebook
from pyramid.config import Configurator
from pyramid.httpexceptions import HTTPForbidden, HTTPFound
from pyramid.response import Response

#: What every kernel of a user's begins with: whose it is.
SCRIPT = "owner = {name!r}\n"


def visitor(request: Any) -> str:
    name: str = request.cookies.get("visitor", "")
    if not re.fullmatch(r"user\d\d", name):
        raise HTTPForbidden("sign in first")
    return name


def home(request: Any) -> Response:
    return Response("twenty users and their shells\n", content_type="text/plain")


def shell(request: Any) -> Any:
    name = visitor(request)
    return launch_notebook(request, name, {"startup": SCRIPT.format(name=name)})


def shutdown(request: Any) -> Any:
    shutdown_notebook(request, visitor(request))
    return HTTPFound(request.route_url("home"))


def proxy(request: Any) -> Response:
    return notebook_proxy(request, visitor(request))


def main(global_config: dict[str, str], **settings: Any) -> Any:
    config = Configurator(settings=settings)
    for name, pattern, view in (
        ("home", "/", home),
        ("shell", "/shell", shell),
        ("shutdown_notebook", "/notebook/shutdown", shutdown),
        ("notebook_proxy", "/notebook/*remainder", proxy),
    ):
        config.add_route(name, pattern)
        config.add_view(view, route_name=name)
    return config.make_wsgi_app()
