"""Carries a request to a notebook of `NotebookManager`, for sites that do so in their own view.

Under perijove nothing comes through here. Before a request is passed on, the site's view must have
checked that it is the notebook's owner who asks.
"""

from __future__ import annotations

import http.client
from collections.abc import Callable, Iterable, Iterator
from typing import Any
from urllib.parse import quote

from perijove import manners

from .server.comm import get_token

__all__ = ["WSGIProxyApplication", "is_hop_by_hop", "reconstruct_url"]

#: Seconds of silence after which a notebook is given up.
PATIENCE = 60.0

#: Bytes of a request's body.
LONGEST_BODY = 2 << 30

HOP_BY_HOP = frozenset(
    {
        "connection",
        "keep-alive",
        "proxy-authenticate",
        "proxy-authorization",
        "proxy-connection",
        "te",
        "trailer",
        "trailers",
        "transfer-encoding",
        "upgrade",
    }
)

#: Of the site alone: a notebook runs code that its user can change.
KEPT_BACK = frozenset({"authorization", "cookie", "host", "content-length", "proxy"})


def is_hop_by_hop(header: str) -> bool:
    """Whether a header field is for one connection only."""
    return header.lower() in HOP_BY_HOP


def reconstruct_url(environ: dict[str, Any], port: int | None = None) -> str:
    """The address that a request came to, or the same on a port of this machine."""
    host = environ.get("HTTP_HOST") or f"{environ['SERVER_NAME']}:{environ['SERVER_PORT']}"
    base = f"{environ['wsgi.url_scheme']}://{host}" if port is None else f"http://localhost:{port}"
    return base + _target(environ)


class WSGIProxyApplication:
    """A WSGI application that stands for the notebook on a port of this machine."""

    def __init__(self, port: int) -> None:
        self.port = port

    def __call__(
        self, environ: dict[str, Any], start_response: Callable[..., Any]
    ) -> Iterable[bytes]:
        try:
            _refuse_foreign(environ)
            return self._forward(environ, start_response)
        except manners.Refusal as refusal:
            return _say(start_response, f"{refusal.status} Refused", str(refusal))
        except RuntimeError as error:
            return _say(start_response, "503 Service Unavailable", str(error))
        except (OSError, http.client.HTTPException):
            return _say(start_response, "502 Bad Gateway", "the notebook does not answer")

    def _forward(
        self, environ: dict[str, Any], start_response: Callable[..., Any]
    ) -> Iterable[bytes]:
        body = _body(environ)
        fields = {
            "-".join(name[5:].split("_")).title(): value
            for name, value in environ.items()
            if name.startswith("HTTP_")
        }
        fields = {
            name: value
            for name, value in fields.items()
            if not is_hop_by_hop(name) and name.lower() not in KEPT_BACK
        }
        if environ.get("CONTENT_TYPE"):
            fields["Content-Type"] = environ["CONTENT_TYPE"]
        # Jupyter leaves its own checks of Origin and XSRF to whoever has the token.
        fields["Authorization"] = f"token {get_token(self.port)}"
        fields["Connection"] = "close"
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=PATIENCE)
        fields["Host"] = f"localhost:{self.port}"
        try:
            connection.request(environ["REQUEST_METHOD"], _target(environ), body, fields)
            answer = connection.getresponse()
        except BaseException:
            connection.close()
            raise
        told = [
            (name, value)
            for name, value in answer.getheaders()
            # A cookie of the notebook's would be the site's: it needs none.
            if not is_hop_by_hop(name) and name.lower() != "set-cookie"
        ]
        start_response(f"{answer.status} {answer.reason or 'Unknown'}", told)
        return _pieces(connection, answer)


def _target(environ: dict[str, Any]) -> str:
    path = environ.get("SCRIPT_NAME", "") + environ.get("PATH_INFO", "")
    target = quote(path.encode("latin-1"), safe="/~!$&'()*+,;=:@")
    query = environ.get("QUERY_STRING", "")
    return f"{target}?{query}" if query else target


def _body(environ: dict[str, Any]) -> bytes | None:
    length = environ.get("CONTENT_LENGTH") or ""
    if environ.get("HTTP_TRANSFER_ENCODING"):
        raise manners.Refusal(411, "a body without a length is not passed on")
    if not length:
        return None
    if not (length.isascii() and length.isdigit()) or int(length) > LONGEST_BODY:
        raise manners.Refusal(413, "the body is too large")
    body: bytes = environ["wsgi.input"].read(int(length))
    return body


def _refuse_foreign(environ: dict[str, Any]) -> None:
    fields = {
        "Sec-Fetch-Site": environ.get("HTTP_SEC_FETCH_SITE"),
        "Sec-Fetch-Mode": environ.get("HTTP_SEC_FETCH_MODE"),
        "Sec-Fetch-Dest": environ.get("HTTP_SEC_FETCH_DEST"),
        "Origin": environ.get("HTTP_ORIGIN"),
    }
    origin = f"{environ['wsgi.url_scheme']}://{environ.get('HTTP_HOST', '')}"
    asked = manners.Asked(environ["REQUEST_METHOD"], _target(environ), _Fields(fields), origin)
    manners.refuse_foreign(asked)


class _Fields:
    def __init__(self, fields: dict[str, str | None]) -> None:
        self.fields = fields

    def get(self, name: str, /) -> str | None:
        return self.fields.get(name)


def _pieces(
    connection: http.client.HTTPConnection, answer: http.client.HTTPResponse
) -> Iterator[bytes]:
    try:
        while piece := answer.read1(65536):
            yield piece
    finally:
        connection.close()


def _say(start_response: Callable[..., Any], status: str, text: str) -> Iterable[bytes]:
    start_response(status, [("Content-Type", "text/plain; charset=utf-8")])
    return [f"{text}\n".encode()]
