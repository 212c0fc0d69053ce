"""The environ of a request (PEP 3333)."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from frames import Connection

Serve = Callable[[str], Connection]


def environ_of(serve: Serve, *arguments: Any, **others: Any) -> dict[str, Any]:
    answer = serve("environ").fetch(*arguments, **others)
    assert answer.status == 200, answer
    shown: dict[str, Any] = answer.json
    return shown


def test_all_that_is_asked_for_is_there(serve: Serve) -> None:
    headers = [("host", "example.org:8000"), ("user-agent", "curl"), ("content-type", "text/x")]
    shown = environ_of(serve, "POST", "/a?b=c", headers, body=b"123", request_id="r-9")
    assert shown == {
        "CONTENT_LENGTH": "3",
        "CONTENT_TYPE": "text/x",
        "GATEWAY_INTERFACE": "CGI/1.1",
        "HTTP_HOST": "example.org:8000",
        "HTTP_USER_AGENT": "curl",
        "PATH_INFO": "/a",
        "QUERY_STRING": "b=c",
        "RAW_URI": "/a?b=c",
        "REMOTE_ADDR": "203.0.113.7",
        "REMOTE_PORT": "50000",
        "REQUEST_METHOD": "POST",
        "REQUEST_URI": "/a?b=c",
        "SCRIPT_NAME": "",
        "SERVER_NAME": "example.org",
        "SERVER_PORT": "8000",
        "SERVER_PROTOCOL": "HTTP/1.1",
        "SERVER_SOFTWARE": "perijove/0.1.0",
        "perijove.request_id": "r-9",
        "wsgi.errors": "Lines",
        "wsgi.file_wrapper": "type",
        "wsgi.input": "Input",
        "wsgi.input_terminated": True,
        "wsgi.multiprocess": True,
        "wsgi.multithread": True,
        "wsgi.run_once": False,
        "wsgi.url_scheme": "http",
        "wsgi.version": [1, 0],
    }


@pytest.mark.parametrize(
    ("target", "mount", "script", "path", "query"),
    [
        ("/", "", "", "/", ""),
        ("/a/b?c=d?e", "", "", "/a/b", "c=d?e"),
        ("/a?", "", "", "/a", ""),
        ("/caf%C3%A9%20x", "", "", "/caf\xc3\xa9 x", ""),
        (b"/caf\xe9", "", "", "/caf\xe9", ""),
        ("/a%2Fb?%20", "", "", "/a/b", "%20"),
        ("/100%", "", "", "/100%", ""),
        ("/%zz%4", "", "", "/%zz%4", ""),
        ("/shop/item", "/shop", "/shop", "/item", ""),
        ("/shop", "/shop", "/shop", "", ""),
        ("/a%20shop/item", "/a%20shop", "/a shop", "/item", ""),
        ("/shopping", "/shop", "", "/shopping", ""),
        ("http://example.org/a?b", "", "", "/a", "b"),
        ("http://example.org", "", "", "/", ""),
        ("*", "", "", "", ""),
    ],
)
def test_the_target_is_taken_apart(
    serve: Serve, target: str, mount: str, script: str, path: str, query: str
) -> None:
    shown = environ_of(serve, "GET", target, mount=mount)
    parts = shown["SCRIPT_NAME"], shown["PATH_INFO"], shown["QUERY_STRING"]
    assert parts == (script, path, query)
    raw = target if isinstance(target, str) else target.decode("latin-1")
    assert (shown["RAW_URI"], shown["REQUEST_URI"]) == (raw, raw)


@pytest.mark.parametrize(
    ("headers", "expected"),
    [
        ([("accept", "a"), ("x", "1"), ("accept", "b")], {"HTTP_ACCEPT": "a, b", "HTTP_X": "1"}),
        ([("cookie", "a=1"), ("cookie", "b=2")], {"HTTP_COOKIE": "a=1; b=2"}),
        ([("x-latin", b"caf\xe9")], {"HTTP_X_LATIN": "caf\xe9"}),
        ([("x-empty", "")], {"HTTP_X_EMPTY": ""}),
        ([("x_a", "hidden"), ("x-a", "shown")], {"HTTP_X_A": "shown"}),
        ([("proxy", "http://evil")], {}),
        ([("transfer-encoding", "chunked")], {}),
    ],
)
def test_headers(
    serve: Serve, headers: list[tuple[str, str | bytes]], expected: dict[str, str]
) -> None:
    shown = environ_of(serve, "GET", "/", headers)
    assert {key: value for key, value in shown.items() if key.startswith("HTTP_")} == expected


def test_headers_are_not_remembered_from_other_requests(serve: Serve) -> None:
    connection = serve("environ")
    for value in ("one", "two", "one"):
        headers = [("host", value), ("cookie", f"secret={value}"), (f"x-{value}", "here")]
        shown = connection.fetch("GET", "/", headers).json
        assert (shown["HTTP_HOST"], shown["HTTP_COOKIE"]) == (value, f"secret={value}")
        assert [key for key in shown if key.startswith("HTTP_X_")] == [f"HTTP_X_{value.upper()}"]


@pytest.mark.parametrize(
    ("version", "protocol"), [(0, "HTTP/1.0"), (1, "HTTP/1.1"), (2, "HTTP/2.0")]
)
def test_versions(serve: Serve, version: int, protocol: str) -> None:
    assert environ_of(serve, version=version)["SERVER_PROTOCOL"] == protocol


def test_what_the_gateway_says_of_the_connection(serve: Serve) -> None:
    shown = environ_of(serve, https=True, server="b.example", port=443, client=("", ""))
    keys = ("wsgi.url_scheme", "SERVER_NAME", "SERVER_PORT", "REMOTE_ADDR", "REMOTE_PORT")
    assert [shown[key] for key in keys] == ["https", "b.example", "443", "", ""]


def test_a_chunked_body_has_no_length(serve: Serve) -> None:
    shown = environ_of(serve, "POST", "/", [], body=b"x", chunked=True)
    assert "CONTENT_LENGTH" not in shown
