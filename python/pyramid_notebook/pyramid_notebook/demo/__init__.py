"""The original's demo: two shells behind HTTP Basic, for `perijove serve` with development.ini."""

from __future__ import annotations

import hmac
from base64 import b64decode
from typing import Any

from pyramid.config import Configurator
from pyramid.httpexceptions import HTTPFound, HTTPUnauthorized
from pyramid.response import Response

from pyramid_notebook import startup
from pyramid_notebook.views import launch_notebook, notebook_proxy, shutdown_notebook

HOME = """\
<!doctype html>
<html lang="en">
<title>pyramid_notebook</title>
<h1>pyramid_notebook test application</h1>
<p><a id="shell1" href="/shell1">Shell with context 1</a></p>
<p><a id="shell2" href="/shell2">Shell with context 2</a></p>
<p><a id="shutdown" href="/notebook/shutdown">Shut down my notebook</a></p>
</html>
"""

#: What the second shell has beside the first one's.
SCRIPT = """
a = "foo"
b = "bar"


def fn():
    print("a function of the site's")
"""

VARIABLES = """
* **a** - a variable

* **b** - another variable

* **fn** - a function
"""


def main(global_config: dict[str, str], **settings: str) -> Any:
    """The application; `demo.users` in the INI file says who there is, as `name:password`."""
    settings["demo.config_file"] = global_config.get("__file__", "")
    config = Configurator(settings=settings)
    config.include("pyramid_notebook")
    for name, path, view in (
        ("home", "/", home),
        ("shell1", "/shell1", shell1),
        ("shell2", "/shell2", shell2),
        # Before the next, which it lies below.
        ("shutdown_notebook", "/notebook/shutdown", shutdown),
        ("notebook_proxy", "/notebook/*remainder", proxy),
    ):
        config.add_route(name, path)
        config.add_view(view, route_name=name)
    return config.make_wsgi_app()


def home(request: Any) -> Any:
    return Response(HOME)


def shell1(request: Any) -> Any:
    context = _context(request)
    startup.add_greeting(context, "**Executing shell1 context**")
    return launch_notebook(request, _user(request), notebook_context=context)


def shell2(request: Any) -> Any:
    context = _context(request)
    startup.add_script(context, SCRIPT)
    startup.add_greeting(context, VARIABLES)
    return launch_notebook(request, _user(request), notebook_context=context)


def shutdown(request: Any) -> Any:
    shutdown_notebook(request, _user(request))
    return HTTPFound(request.route_url("home"))


def proxy(request: Any) -> Any:
    return notebook_proxy(request, _user(request))


def _context(request: Any) -> dict[str, Any]:
    context: dict[str, Any] = {}
    startup.make_startup(context, request.registry.settings["demo.config_file"] or None)
    return context


def _user(request: Any) -> str:
    """Who asks, by HTTP Basic; nobody else gets further."""
    accounts = dict(
        entry.split(":", 1) for entry in request.registry.settings.get("demo.users", "").split()
    )
    scheme, _, shown = request.headers.get("Authorization", "").partition(" ")
    try:
        name, _, password = b64decode(shown).decode().partition(":")
    except ValueError:
        name = password = ""
    expected = accounts.get(name)
    is_known = expected is not None and hmac.compare_digest(expected.encode(), password.encode())
    if scheme.lower() != "basic" or not is_known:
        raise HTTPUnauthorized(headers=[("WWW-Authenticate", 'Basic realm="pyramid_notebook"')])
    return name
