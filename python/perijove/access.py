"""Asks the site's own functions who may pass: an application that only the gateway speaks to.

The functions have the names and the arguments that mod_wsgi calls them with, so that its scripts
work here: `check_password(environ, user, password)`, `groups_for_user(environ, user)` and
`allow_access(environ, host)`. A function that raises has no answer: then nobody passes.

What they say is remembered, so each sees no more than what it is remembered by: the last one the
request, the others who asks.
"""

from __future__ import annotations

import base64
import importlib.machinery
import importlib.util
import json
import os
from collections.abc import Callable, Iterable
from typing import Any

Environ = dict[str, Any]
Application = Callable[[Environ, Callable[..., Any]], Iterable[bytes]]

_FUNCTIONS = {
    "password": "check_password",
    "groups": "groups_for_user",
    "allow": "allow_access",
}

# Who asks, and where: the same for all that somebody asks for.
_OF_USER = {
    "HTTP_HOST",
    "REMOTE_ADDR",
    "SCRIPT_NAME",
    "SERVER_NAME",
    "SERVER_PORT",
    "SERVER_SOFTWARE",
}


def make() -> Application:
    """The application for the scripts that `PERIJOVE_ACCESS` names, as JSON."""
    scripts: dict[str, str] = json.loads(os.environ["PERIJOVE_ACCESS"])
    modules: dict[str, Any] = {}
    functions: dict[str, Callable[..., Any]] = {}
    for question, path in scripts.items():
        if path not in modules:
            modules[path] = _load(path, f"perijove_access_{len(modules)}")
        function = getattr(modules[path], _FUNCTIONS[question], None)
        if not callable(function):
            raise LookupError(f"{path} has no function `{_FUNCTIONS[question]}`")
        functions[question] = function

    def application(environ: Environ, start_response: Callable[..., Any]) -> Iterable[bytes]:
        answer = json.dumps(_answers(functions, environ)).encode()
        start_response("200 OK", [("Content-Type", "application/json")])
        return [answer]

    return application


def _load(path: str, name: str) -> Any:
    # The loader is named: a script need not end in `.py`.
    loader = importlib.machinery.SourceFileLoader(name, path)
    spec = importlib.util.spec_from_file_location(name, path, loader=loader)
    if spec is None:
        raise ImportError(f"{path} cannot be imported")
    module = importlib.util.module_from_spec(spec)
    loader.exec_module(module)
    return module


def _answers(functions: dict[str, Callable[..., Any]], environ: Environ) -> dict[str, Any]:
    """What is asked for in `Perijove-Ask`, as far as it matters."""
    method, *asked = environ.pop("HTTP_PERIJOVE_ASK").split()
    environ["REQUEST_METHOD"] = method
    authorization = environ.pop("HTTP_AUTHORIZATION", "")
    answers: dict[str, Any] = {}
    if "allow" in asked:
        answers["allow"] = _verdict(functions["allow"](environ, environ.get("REMOTE_ADDR", "")))
        if answers["allow"] is False:
            return answers
    if "password" not in asked:
        return answers
    user, password = _credentials(authorization)
    answers["user"] = user
    environ = {
        name: value
        for name, value in environ.items()
        if name in _OF_USER or name.startswith("wsgi.")
    }
    answers["password"] = _verdict(functions["password"](environ, user, password))
    if "groups" in asked and answers["password"] is True:
        groups = functions["groups"](environ, user) or []
        answers["groups"] = [_text(group) for group in groups]
    return answers


def _credentials(authorization: str) -> tuple[str, str]:
    """Name and password (RFC 7617), as text where they are UTF-8."""
    pair = base64.b64decode(authorization.partition(" ")[2].strip(), validate=True)
    try:
        user, _, password = pair.decode().partition(":")
    except UnicodeDecodeError:
        user, _, password = pair.decode("latin-1").partition(":")
    return user, password


def _verdict(answer: Any) -> bool | None:
    # Anything but these would be guessing.
    if answer is None or isinstance(answer, bool):
        return answer
    kind = type(answer).__name__
    raise TypeError(f"the function returned {kind}: only True, False and None count")


def _text(group: Any) -> str:
    return group.decode() if isinstance(group, bytes) else str(group)
