"""Loads an example site in this process and visits it as a browser would, cookies and all."""

from __future__ import annotations

import shutil
import sys
from pathlib import Path
from typing import Any

from pyramid.paster import get_app
from pyramid.request import Request

EXAMPLES = Path(__file__).resolve().parents[2] / "examples"


class Visitor:
    """One browser: keeps its cookies, follows nothing."""

    def __init__(self, app: Any) -> None:
        self.app = app
        self.cookies: dict[str, str] = {}

    def get(self, path: str, **headers: str) -> Any:
        return self._ask(Request.blank(path), headers)

    def post(self, path: str, fields: dict[str, str], **headers: str) -> Any:
        return self._ask(Request.blank(path, POST=fields), headers)

    def sign_in(self, user: str, password: str = "password") -> Any:
        return self.post("/login", {"username": user, "password": password})

    def _ask(self, request: Any, headers: dict[str, str]) -> Any:
        request.headers.update({name.replace("_", "-"): value for name, value in headers.items()})
        request.cookies.update(self.cookies)
        answer = request.get_response(self.app)
        for line in answer.headers.getall("Set-Cookie"):
            name, _, rest = line.partition("=")
            self.cookies[name] = rest.partition(";")[0]
        return answer


def load(example: str, ini: str, folder: Path) -> Any:
    """A copy of the example in `folder`, loaded; its modules replace those of an earlier copy."""
    site = folder / example
    shutil.copytree(EXAMPLES / example, site, ignore=shutil.ignore_patterns("var", "__pycache__"))
    for name in [name for name in sys.modules if name.split(".")[0] in ("shop", "backoffice")]:
        del sys.modules[name]
    sys.path.insert(0, str(site))
    try:
        return get_app(str(site / ini))
    finally:
        sys.path.remove(str(site))
