"""Templates of the site's own, found before those of Jupyter's pages.

Jupyter's setting is for the pages of its server. JupyterLab, Notebook and nbclassic make theirs
of templates of their own; these are looked for in the same folders first.
"""

from __future__ import annotations

import os
from typing import Any


def put_first(app: Any, paths: list[str]) -> None:
    """Has the templates in these folders come before those of every extension that has pages."""
    if not paths:
        return
    found = [page for pages in app.extension_manager.extension_apps.values() for page in pages]
    for page in found:
        places = getattr(
            getattr(getattr(page, "jinja2_env", None), "loader", None), "searchpath", None
        )
        if not places:
            continue
        # So that `{% extends "templates/tree.html" %}` in a `tree.html` means the one it replaces.
        above = [os.path.dirname(place) for place in places]
        places[:] = [*paths, *places, *(each for each in above if each not in places)]
