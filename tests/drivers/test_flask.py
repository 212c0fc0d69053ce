"""The Flask example under every driver: sign the book, with a picture; static files; a reload."""

from __future__ import annotations

import http.cookiejar
import shutil
import urllib.request
from collections.abc import Iterator
from pathlib import Path

import pytest
from served import PATIENCE, TREE, Served
from table import Column

PNG = bytes.fromhex(
    "89504e470d0a1a0a0000000d49484452000000010000000108060000001f15c4890000000d49444154789c6360f8cf"
    "c0000003010100c9fe92ef0000000049454e44ae426082"
)
MARK = "a-line-between-parts"


@pytest.fixture(params=["native", "wsgiref", "gevent", "gunicorn", "uwsgi", "mod_wsgi"])
def book(request: pytest.FixtureRequest, place: Path, parts: tuple[Path, Path]) -> Iterator[Served]:
    one = Served(place, parts, Column(request.param, request.param), starts=False)
    shutil.rmtree(one.root)
    shutil.copytree(
        TREE / "examples/flask", one.root, ignore=shutil.ignore_patterns("var", ".venv")
    )
    (one.root / "var/pictures").mkdir(parents=True)
    # Apache's account writes there, too.
    for folder in (one.root / "var", one.root / "var/pictures"):
        folder.chmod(0o777)
    one.environment["PERIJOVE_SITE__SERVER"] = request.param
    one.environment["PERIJOVE_SITE__WORKERS"] = "2"
    one.environment["PERIJOVE_LISTEN"] = "127.0.0.1:0"
    one.is_configured = True
    with one:
        one.start()
        yield one


def test_the_book_is_signed(book: Served) -> None:
    cookies = urllib.request.HTTPCookieProcessor(http.cookiejar.CookieJar())
    visitor = urllib.request.build_opener(cookies)
    url = f"http://{book.address}"
    assert "Nobody has signed yet" in read(visitor, f"{url}/")

    request = urllib.request.Request(f"{url}/sign", data=form("Ada", "Good morning", PNG))
    request.add_header("Content-Type", f"multipart/form-data; boundary={MARK}")
    signed = read(visitor, request)
    assert "Thank you." in signed
    assert "Good morning" in signed

    picture = signed.split('<img src="')[1].split('"')[0]
    assert visitor.open(url + picture, timeout=PATIENCE).read() == PNG
    assert "font-family" in read(visitor, f"{url}/static/book.css")

    book.reload()
    book.told("reloaded")
    assert "Good morning" in read(visitor, f"{url}/")


def read(visitor: urllib.request.OpenerDirector, request: object) -> str:
    text: str = visitor.open(request, timeout=PATIENCE).read().decode()  # type: ignore[arg-type]
    return text


def form(name: str, text: str, picture: bytes) -> bytes:
    fields = {"name": name, "text": text}
    parts = [
        f'--{MARK}\r\nContent-Disposition: form-data; name="{field}"\r\n\r\n{value}\r\n'.encode()
        for field, value in fields.items()
    ]
    head = 'form-data; name="picture"; filename="me.png"\r\nContent-Type: image/png'
    parts.append(f"--{MARK}\r\nContent-Disposition: {head}\r\n\r\n".encode() + picture + b"\r\n")
    return b"".join(parts) + f"--{MARK}--\r\n".encode()
