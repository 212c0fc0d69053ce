"""Pages of nbclassic, which knows no extensions of JupyterLab, are given the same script.

The script is what JupyterLab and Notebook load as an extension. In a page without them it works by
itself: the warning, the entry in the File menu.
"""

from __future__ import annotations

import os
from typing import Any

from jupyter_server.base.handlers import JupyterHandler
from jupyter_server.utils import url_path_join
from tornado import web
from tornado.web import OutputTransform

ADDRESS = "api/perijove/page.js"
SCRIPT = os.path.join(
    os.path.dirname(os.path.abspath(__file__)), "labextension/perijove/static/remoteEntry.js"
)


class PageScript(JupyterHandler):
    @web.authenticated
    def get(self) -> None:
        self.set_header("Content-Type", "text/javascript; charset=utf-8")
        with open(SCRIPT, "rb") as file:
            self.finish(file.read())


def add(app: Any) -> None:
    """Gives the script to the pages of nbclassic, if that is installed for this server."""
    pages = url_path_join(app.base_url, "nbclassic/")
    source = url_path_join(app.base_url, ADDRESS)
    app.web_app.add_handlers(".*$", [(source, PageScript)])
    element = f'<script src="{source}" data-base-url="{app.base_url}" defer></script>'.encode()

    class WithScript(OutputTransform):
        """Puts the element where the page's head ends."""

        def __init__(self, request: Any) -> None:
            self.is_page = request.method == "GET" and request.path.startswith(pages)

        def transform_first_chunk(
            self, status_code: int, headers: Any, chunk: bytes, finishing: bool
        ) -> tuple[int, Any, bytes]:
            is_html = headers.get("Content-Type", "").startswith("text/html")
            if self.is_page and is_html and finishing and b"</head>" in chunk:
                chunk = chunk.replace(b"</head>", element + b"</head>", 1)
                if "Content-Length" in headers:
                    headers["Content-Length"] = str(len(chunk))
            return status_code, headers, chunk

    # Before compression, which would leave nothing to be found.
    app.web_app.transforms.insert(0, WithScript)
