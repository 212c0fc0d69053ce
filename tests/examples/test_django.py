"""The Django example: sign in to the admin, upload, static files, both interfaces, a reload."""

from __future__ import annotations

import http.client
import http.cookiejar
import re
import urllib.parse
import urllib.request
from collections.abc import Callable

import pytest
from example import PATIENCE, Example

PNG = bytes.fromhex(
    "89504e470d0a1a0a0000000d49484452000000010000000108060000001f15c4890000000d49444154789c6360f8cf"
    "c0000003010100c9fe92ef0000000049454e44ae426082"
)


class Visitor:
    """A browser in small: keeps cookies and fills in forms."""

    def __init__(self, url: str) -> None:
        self.url = url
        cookies = urllib.request.HTTPCookieProcessor(http.cookiejar.CookieJar())
        self.opener = urllib.request.build_opener(cookies)

    def open(
        self, path: str, body: bytes | None = None, kind: str = ""
    ) -> http.client.HTTPResponse:
        url = urllib.parse.urljoin(self.url, path)
        request = urllib.request.Request(url, data=body, headers={"Referer": url})
        if kind:
            request.add_header("Content-Type", kind)
        answer: http.client.HTTPResponse = self.opener.open(request, timeout=PATIENCE)
        return answer

    def get(self, path: str) -> str:
        return self.open(path).read().decode()

    def send(self, path: str, fields: dict[str, str], files: dict[str, bytes] | None = None) -> str:
        """Sends the form that lies at a path, with its token."""
        token = re.search(r'name="csrfmiddlewaretoken" value="([^"]+)"', self.get(path))
        assert token is not None
        fields = {"csrfmiddlewaretoken": token[1]} | fields
        mark = "----a-line-between-parts"
        parts = [
            f'--{mark}\r\nContent-Disposition: form-data; name="{name}"\r\n\r\n{value}\r\n'.encode()
            for name, value in fields.items()
        ]
        for name, content in (files or {}).items():
            head = f'form-data; name="{name}"; filename="{name}.png"\r\nContent-Type: image/png'
            parts.append(
                f"--{mark}\r\nContent-Disposition: {head}\r\n\r\n".encode() + content + b"\r\n"
            )
        body = b"".join(parts) + f"--{mark}--\r\n".encode()
        return self.open(path, body, f"multipart/form-data; boundary={mark}").read().decode()


def prepare(example: Example) -> None:
    """What the README says to do once."""
    example.python("manage.py", "migrate")
    example.python("manage.py", "collectstatic", "--noinput")
    example.python(
        "manage.py",
        "createsuperuser",
        "--noinput",
        DJANGO_SUPERUSER_USERNAME="ada",
        DJANGO_SUPERUSER_EMAIL="ada@example.com",
        DJANGO_SUPERUSER_PASSWORD="a-long-password",
    )
    (example.root / "var/media").mkdir()


@pytest.mark.parametrize("app", ["", "library.asgi:application"])
def test_books_with_covers(example: Callable[[str], Example], app: str) -> None:
    site = example("django")
    prepare(site)
    site.serve(**({"PERIJOVE_SITE__APP": app} if app else {}))
    visitor = Visitor(site.url)
    assert "Nothing on the shelf yet" in visitor.get("/")

    home = visitor.send(
        "/admin/login/?next=/admin/", {"username": "ada", "password": "a-long-password"}
    )
    assert "Site administration" in home
    listed = visitor.send(
        "/admin/books/book/add/", {"title": "Emma", "author": "Jane Austen"}, {"cover": PNG}
    )
    assert "was added successfully" in listed

    shelf = visitor.get("/")
    assert "Emma by Jane Austen" in shelf
    cover = re.search(r'<img src="(/media/covers/[^"]+)"', shelf)
    assert cover is not None
    shown = visitor.open(cover[1])
    assert shown.headers["Content-Type"] == "image/png"
    assert shown.read() == PNG

    style = re.search(r'href="(/static/books/shelf\.[0-9a-f]+\.css)"', shelf)
    assert style is not None
    sheet = visitor.open(style[1])
    assert sheet.headers["Content-Type"].startswith("text/css")
    assert b"font-family" in sheet.read()

    site.tell("reload")
    assert "Emma by Jane Austen" in visitor.get("/")
    assert "Site administration" in visitor.get("/admin/"), "signed in over the reload"
