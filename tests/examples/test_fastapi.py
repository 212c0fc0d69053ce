"""The FastAPI example: models, its own documentation, streaming, a file both ways, its lifespan."""

from __future__ import annotations

import json
import urllib.error
import urllib.request
from collections.abc import Callable
from typing import Any

import pytest
from example import PATIENCE, Example


def ask(
    site: Example, path: str, body: bytes | None = None, method: str = "GET", kind: str = ""
) -> tuple[int, bytes]:
    request = urllib.request.Request(site.url + path, data=body, method=method)
    request.add_header("Content-Type", kind or "application/json")
    try:
        with urllib.request.urlopen(request, timeout=PATIENCE) as answer:
            return answer.status, answer.read()
    except urllib.error.HTTPError as error:
        with error:
            return error.code, error.read()


@pytest.fixture
def site(example: Callable[[str], Example]) -> Example:
    return example("fastapi").serve()


def post(site: Example, note: dict[str, Any]) -> tuple[int, Any]:
    status, body = ask(site, "/notes", json.dumps(note).encode(), "POST")
    return status, json.loads(body)


def test_notes(site: Example) -> None:
    status, note = post(site, {"title": "milk", "text": "two bottles"})
    assert (status, note) == (201, {"title": "milk", "text": "two bottles", "id": 1})
    status, body = ask(site, "/notes/1")
    assert (status, json.loads(body)) == (200, note)
    assert ask(site, "/notes/2")[0] == 404
    assert post(site, {"title": ""})[0] == 422
    assert ask(site, "/notes.csv")[1] == b'id,title\n1,"milk"\n'
    assert b"Notes" in ask(site, "/docs")[1]
    assert "/notes/{number}/file" in json.loads(ask(site, "/openapi.json")[1])["paths"]


def test_a_file_goes_both_ways(site: Example) -> None:
    content = bytes(range(256)) * 8000
    mark = b"----a-line-between-parts"
    body = b"\r\n".join(
        [
            b"--" + mark,
            b'Content-Disposition: form-data; name="file"; filename="a"',
            b"",
            content,
            b"--" + mark + b"--",
            b"",
        ]
    )
    kind = f"multipart/form-data; boundary={mark.decode()}"
    assert ask(site, "/notes/7/file", body, "PUT", kind)[0] == 204
    assert ask(site, "/notes/7/file") == (200, content)


def test_the_lifespan_and_the_background(site: Example) -> None:
    post(site, {"title": "milk"})
    # The site answers as soon as the first of its workers can.
    site.until_told("the worker is ready", 2)
    site.stop()
    log = site.log.read_text()
    assert log.count("the worker is ready") == 2
    assert log.count("the worker ends") == 2
    assert "note 1 was written" in log
