"""`wsgiref.validate` finds nothing."""

from __future__ import annotations

from collections.abc import Callable

import pytest
from frames import Connection

Serve = Callable[[str], Connection]


@pytest.mark.parametrize("method", ["GET", "POST", "HEAD"])
@pytest.mark.parametrize("path", ["/plain", "/written", "/empty"])
def test_nothing_is_found(serve: Serve, method: str, path: str) -> None:
    body = b"one\ntwo\n" if method == "POST" else None
    answer = serve("validated").fetch(method, f"{path}?x=y", body=body)
    assert answer.status in (200, 204), answer.text
    if method == "POST" and path != "/empty":
        assert b"one\ntwo\n" in answer.body


def test_nothing_is_found_with_files(serve: Serve) -> None:
    answer = serve("validated").fetch("GET", "/wrapped")
    assert answer.status == 200
    assert b"wsgiref.validate" in answer.body
