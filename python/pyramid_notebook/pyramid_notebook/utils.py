"""Small things that sites and their startup scripts import; needs nothing but Python.

Startup scripts run in a notebook's kernel, where neither perijove nor Pyramid need be installed.
"""

from __future__ import annotations

import hashlib
import os
from typing import Any

__all__ = ["change_directory", "make_dict_hash", "route_to_alt_domain"]


class change_directory:
    """Work in another folder inside a `with`, and come back at its end."""

    def __init__(self, directory: str | os.PathLike[str]) -> None:
        self._directory = os.path.abspath(directory)
        self._previous: str | None = None

    @property
    def current(self) -> str:
        """The folder one works in now."""
        return os.getcwd()

    @property
    def previous(self) -> str | None:
        """The folder that was left, once it was."""
        return self._previous

    @property
    def relative(self) -> str:
        """The way from the folder that was left to the one that was entered."""
        return os.path.relpath(self._directory, self._previous or os.getcwd())

    def __enter__(self) -> change_directory:
        self._previous = os.getcwd()
        os.chdir(self._directory)
        return self

    def __exit__(self, *_: object) -> None:
        if self._previous is not None:
            os.chdir(self._previous)


def route_to_alt_domain(request: Any, url: str) -> str:
    """The same address on `pyramid_notebook.alternative_domain`; unchanged where none is set."""
    domain = str(request.registry.settings.get("pyramid_notebook.alternative_domain") or "").strip()
    host = request.host_url
    if not domain or not (url == host or url.startswith((f"{host}/", f"{host}?"))):
        return url
    return domain.rstrip("/") + url[len(host) :]


def make_dict_hash(o: Any) -> int:
    """A number for what a context says, the same in every process and after every restart.

    Dicts and sets count the same in any order, lists and tuples as each other. Raises `TypeError`
    for what is not plain data.
    """
    digest = hashlib.sha256(_spell(o).encode("utf-8", "surrogatepass")).digest()
    return int.from_bytes(digest[:8], "big") >> 1


def _spell(o: Any) -> str:
    if isinstance(o, dict):
        return "{" + ",".join(sorted(f"{_spell(k)}:{_spell(v)}" for k, v in o.items())) + "}"
    if isinstance(o, (set, frozenset)):
        return "<" + ",".join(sorted(map(_spell, o))) + ">"
    if isinstance(o, (list, tuple)):
        return "[" + ",".join(map(_spell, o)) + "]"
    if o is None or isinstance(o, (bool, int, float, complex, str, bytes)):
        return f"{type(o).__name__} {o!r}"
    raise TypeError(f"a context holds plain data, not `{type(o).__name__}`")
