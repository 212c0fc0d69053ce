"""A shell on a record of each framework's site: who gets one, what is in it, who is kept out."""

from __future__ import annotations

import base64
import http.cookiejar
import json
import re
import stat
import time
import urllib.error
import urllib.parse
import urllib.request
from collections.abc import Callable, Mapping
from contextlib import closing
from dataclasses import dataclass, field, replace
from http.client import HTTPConnection
from pathlib import Path
from typing import Any

import kernel
import pytest
from example import PATIENCE, TREE, Example

FOLLOWED = {
    "Sec-Fetch-Site": "cross-site",
    "Sec-Fetch-Mode": "navigate",
    "Sec-Fetch-Dest": "document",
}


class Stay(urllib.request.HTTPRedirectHandler):
    """Follows nothing: where an answer leads is what is looked at."""

    def redirect_request(self, *_: Any) -> None:
        return None


class Visitor:
    """Somebody with cookies, or a name and a password shown with each request."""

    def __init__(self, url: str, shown: Mapping[str, str] | None = None) -> None:
        self.url, self.shown = url, dict(shown or {})
        # Where the visitor believes to be: a proxy may have taken TLS off.
        scheme = self.shown.get("X-Forwarded-Proto", "http")
        self.origin = url.replace("http", scheme, 1)
        self.cookies = http.cookiejar.CookieJar()
        keeps = urllib.request.HTTPCookieProcessor(self.cookies)
        self.opener = urllib.request.build_opener(keeps, Stay())

    def ask(
        self, path: str, body: Mapping[str, str] | None = None, **headers: str
    ) -> tuple[int, Mapping[str, str], str]:
        data = urllib.parse.urlencode(body).encode() if body is not None else None
        fields = {name.replace("_", "-"): value for name, value in headers.items()}
        url = urllib.parse.urljoin(self.url, path)
        request = urllib.request.Request(url, data, self.shown | {"Referer": self.origin} | fields)
        try:
            with self.opener.open(request, timeout=PATIENCE) as answer:
                return answer.status, answer.headers, answer.read().decode(errors="replace")
        except urllib.error.HTTPError as error:
            with error:
                return error.code, error.headers, error.read().decode(errors="replace")

    def send(self, form: str, fields: Mapping[str, str], to: str = "") -> tuple[int, Any, str]:
        """Sends a form that lies at a path, with the token that is in it."""
        _, _, page = self.ask(form)
        token = re.search(r'name="csrfmiddlewaretoken" value="([^"]+)"', page)
        proof = {"csrfmiddlewaretoken": token[1]} if token else {}
        return self.ask(to or form, {**proof, **fields})

    @property
    def headers(self) -> dict[str, str]:
        """What a request needs that is not made here, such as a websocket's."""
        cookies = "; ".join(f"{cookie.name}={cookie.value}" for cookie in self.cookies)
        return self.shown | {"Origin": self.origin} | ({"Cookie": cookies} if cookies else {})

    def websocket(self, path: str) -> int:
        """The status of a websocket's handshake."""
        handshake = {
            "Connection": "Upgrade",
            "Upgrade": "websocket",
            "Sec-WebSocket-Version": "13",
            "Sec-WebSocket-Key": "AAAAAAAAAAAAAAAAAAAAAA==",
        }
        connection = HTTPConnection(urllib.parse.urlsplit(self.url).netloc, timeout=PATIENCE)
        with closing(connection):
            connection.request("GET", path, headers=handshake | self.headers)
            return connection.getresponse().status


@dataclass
class Site:
    """What is different from framework to framework."""

    example: str
    prepare: Callable[[Example], None]
    #: Makes the record, once the site runs.
    record: Callable[[str], None]
    sign_in: Callable[[str, str], Visitor]
    #: The page with the form, and where the form leads.
    page: str
    shell: str
    #: A cell about the record, and what it shows.
    cell: str
    shows: str
    home: str
    #: What a stranger gets.
    stranger: int = 302
    settings: Mapping[str, str] = field(default_factory=dict)


def prepare_django(site: Example) -> None:
    site.python("manage.py", "migrate")
    site.python("manage.py", "collectstatic", "--noinput")
    program = (
        "from django.contrib.auth.models import User\n"
        "from books.models import Book\n"
        "for name in ('ada', 'guest'):\n"
        "    User.objects.create_superuser(name, password='a-password')\n"
        "Book.objects.create(title='Emma', author='Jane Austen')\n"
    )
    site.python("manage.py", "shell", "-c", program)
    (site.root / "var/media").mkdir()


#: What careful projects set, and middleware that could get into the way of a question.
HARDENED = """
SECURE_SSL_REDIRECT = True
APPEND_SLASH = True
CACHES = {"default": {"BACKEND": "django.core.cache.backends.locmem.LocMemCache"}}
CACHE_MIDDLEWARE_SECONDS = 600
SESSION_SAVE_EVERY_REQUEST = True
MIDDLEWARE = [
    "django.middleware.cache.UpdateCacheMiddleware",
    *MIDDLEWARE,
    "django.contrib.auth.middleware.LoginRequiredMiddleware",
    "django.middleware.http.ConditionalGetMiddleware",
    "django.middleware.cache.FetchFromCacheMiddleware",
]
"""


def prepare_hardened(site: Example) -> None:
    settings = site.root / "library/settings.py"
    settings.write_text(settings.read_text() + HARDENED)
    prepare_django(site)


def sign_in_hardened(url: str, name: str) -> Visitor:
    return sign_in_django(url, name, {"X-Forwarded-Proto": "https"})


def sign_in_django(url: str, name: str, shown: Mapping[str, str] | None = None) -> Visitor:
    visitor = Visitor(url, shown)
    if name:
        fields = {"username": name, "password": "a-password"}
        assert visitor.send("/admin/login/?next=/", fields)[0] == 302
    return visitor


def sign_in_flask(url: str, name: str) -> Visitor:
    visitor = Visitor(url)
    if name:
        assert visitor.ask("/login", {"name": name, "password": "a-password"})[0] == 302
    return visitor


def sign_in_fastapi(url: str, name: str) -> Visitor:
    shown = base64.b64encode(f"{name}:a-password".encode()).decode()
    return Visitor(url, {"Authorization": f"Basic {shown}"} if name else None)


def post_note(url: str) -> None:
    body = json.dumps({"title": "milk", "text": "two bottles"}).encode()
    request = urllib.request.Request(f"{url}/notes", body, {"Content-Type": "application/json"})
    with urllib.request.urlopen(request, timeout=PATIENCE) as answer:
        assert answer.status == 201


def nothing(_: Any) -> None:
    pass


ACCOUNTS = "ada:a-password guest:a-password"
DJANGO = Site(
    "django",
    prepare_django,
    nothing,
    sign_in_django,
    "/books/1/",
    "/books/1/shell",
    "book, Book.objects.count(), settings.SETTINGS_MODULE",
    "(<Book: Emma by Jane Austen>, 1, 'library.settings')",
    "/",
    settings={"LIBRARY_SHELL_USERS": "ada"},
)
FLASK = Site(
    "flask",
    lambda site: (site.root / "var/pictures").mkdir(parents=True),
    lambda url: Visitor(url).ask("/sign", {"name": "Eve", "text": "hello"}) and None,
    sign_in_flask,
    "/",
    "/entries/1/shell",
    "from flask import current_app\nentry['name'], current_app.name, app.name",
    "('Eve', 'guestbook', 'guestbook')",
    "/",
    settings={"GUESTBOOK_USERS": ACCOUNTS, "GUESTBOOK_SHELLS": "ada"},
)
FASTAPI = Site(
    "fastapi",
    nothing,
    post_note,
    sign_in_fastapi,
    "/docs",
    "/notes/1/shell",
    "import asyncio\nawait asyncio.sleep(0)\nnote, app.title",
    "(('milk', 'two bottles'), 'Notes')",
    "/docs",
    stranger=401,
    settings={"NOTES_USERS": ACCOUNTS, "NOTES_SHELLS": "ada"},
)
#: Behind a proxy that ends TLS.
CAREFUL = replace(
    DJANGO,
    prepare=prepare_hardened,
    sign_in=sign_in_hardened,
    settings={**DJANGO.settings, "PERIJOVE_TRUSTED_PROXIES": '["127.0.0.1/32"]'},
)
ON_ASGI = {"PERIJOVE_SITE__APP": "library.asgi:application"}


@pytest.mark.parametrize(
    ("kind", "more"),
    [
        pytest.param(CAREFUL, {}, id="django"),
        pytest.param(DJANGO, ON_ASGI, id="django-asgi"),
        pytest.param(FLASK, {}, id="flask"),
        pytest.param(FASTAPI, {}, id="fastapi"),
    ],
)
def test_a_shell_on_a_record(
    kind: Site, more: dict[str, str], example: Callable[[str], Example]
) -> None:
    served = example(kind.example)
    kind.prepare(served)
    served.serve(**kind.settings, **more)
    kind.record(served.url)
    ada, guest, stranger = (kind.sign_in(served.url, name) for name in ("ada", "guest", ""))

    with notebooks_ended(served):
        # Who may not have a shell gets none, whatever the way.
        for visitor, expected in ((guest, {403}), (stranger, {kind.stranger})):
            assert visitor.send(kind.page, {}, kind.shell)[0] in expected | {403}
            assert visitor.ask(kind.shell)[0] in expected
            is_kept_out(visitor, expected)
        assert running(served) == []

        # A page of another site starts nothing unseen.
        foreign = {"Sec_Fetch_Site": "cross-site", "Sec_Fetch_Mode": "no-cors"}
        assert ada.ask(kind.shell, Sec_Fetch_Dest="image", **foreign)[0] == 403
        assert ada.ask(kind.shell, {}, Origin="https://evil.example")[0] == 403
        assert running(served) == []

        status, headers, _ = ada.send(kind.page, {}, kind.shell)
        assert status == 303
        place = urllib.parse.urlsplit(headers["Location"]).path
        assert place.startswith("/notebook/ada/")
        wait_until_it_serves(ada)

        # The same by a link joins what runs.
        status, headers, _ = ada.ask(kind.shell, **FOLLOWED)
        assert (status, urllib.parse.urlsplit(headers["Location"]).path) == (302, place)

        cell = kernel.start(ada.url, "/notebook/ada/", ada.headers)
        assert kernel.run(ada.url, cell, ada.headers, f"1+1\n{kind.cell}") == kind.shows
        assert kernel.run(ada.url, cell, ada.headers, "1+1") == "2"
        assert ada.websocket(f"{cell}/channels") == 101
        for visitor, expected in ((guest, {403}), (stranger, {kind.stranger})):
            is_kept_out(visitor, expected, cell)

        # A link on another site's page ends nothing: its owner is asked.
        status, headers, _ = ada.ask("/notebook/shutdown", **FOLLOWED)
        assert (status, headers["Location"]) == (303, "/notebook/ada/-/stop"), headers
        status, _, page = ada.ask(headers["Location"], **FOLLOWED)
        assert (status, 'method="post"' in page) == (200, True)
        assert [entry["user"] for entry in running(served)] == ["ada"]
        files_are_where_status_says(served)
        status, headers, _ = ada.send(kind.page, {}, "/notebook/shutdown")
        assert status in (302, 303)
        assert urllib.parse.urlsplit(headers["Location"]).path == kind.home
        assert running(served) == []


def is_kept_out(
    visitor: Visitor, expected: set[int], cell: str = "/notebook/ada/api/kernels/1"
) -> None:
    for path in ("/notebook/ada/lab", "/notebook/ada/api/contents", "/notebook/ada/files/a//b"):
        assert visitor.ask(path)[0] in expected, path
    assert visitor.ask("/notebook/ada/api/kernels", {}, Origin=visitor.origin)[0] in expected
    assert visitor.websocket(f"{cell}/channels") in expected


def files_are_where_status_says(served: Example) -> None:
    told = dict(
        line.split(": ", 1)
        for line in served.tell("notebook", "status", "ada").splitlines()
        if ": " in line
    )
    assert Path(told["folder"]).name == "ada"
    assert "project_root_path" in Path(told["startup"]).read_text()
    for name in ("startup", "log"):
        assert stat.S_IMODE(Path(told[name]).stat().st_mode) == 0o600


def running(served: Example) -> list[dict[str, Any]]:
    told = json.loads(served.tell("notebook", "list", "--json"))
    found: list[dict[str, Any]] = told["notebooks"] if isinstance(told, dict) else told
    return found


class notebooks_ended:
    """Whatever happens, no notebook is left behind: they outlive perijove."""

    def __init__(self, served: Example) -> None:
        self.served = served

    def __enter__(self) -> None:
        return

    def __exit__(self, *_: object) -> None:
        self.served.tell("notebook", "stop", "--all")


def wait_until_it_serves(visitor: Visitor, user: str = "ada") -> None:
    deadline = time.monotonic() + PATIENCE
    while visitor.ask(f"/notebook/{user}/api/kernels")[0] != 200:
        assert time.monotonic() < deadline
        time.sleep(0.1)


def test_the_originals_demo(example: Callable[..., Example]) -> None:
    """Its two stories: home, a shell with what it promises, a cell, and home again."""
    demo = TREE / "python/pyramid_notebook/pyramid_notebook/demo"
    names = ("development.ini", "perijove.toml")
    served = example("demo", {name: (demo / name).read_text() for name in names}).serve()
    shown = base64.b64encode(b"user:password").decode()
    user = Visitor(served.url, {"Authorization": f"Basic {shown}"})
    stories = {
        "/shell1": (
            ["Executing shell1 context", "Available variables and functions"],
            "registry.settings['pyramid_notebook.kill_timeout']",
            "'3600'",
        ),
        "/shell2": (["**a** - a variable", "**fn** - a function"], "print(a + b)", "foobar"),
    }
    with notebooks_ended(served):
        for shell, (greetings, cell, shows) in stories.items():
            assert "pyramid_notebook test application" in user.ask("/")[2]
            status, headers, _ = user.ask(shell)
            assert status == 302
            name = urllib.parse.urlsplit(headers["Location"]).path.rpartition("/")[2]
            wait_until_it_serves(user, "user")
            notebook = json.loads(user.ask(f"/notebook/user/api/contents/{name}")[2])["content"]
            for greeting in greetings:
                assert greeting in notebook["cells"][0]["source"]
            place = kernel.start(user.url, "/notebook/user/", user.headers)
            assert kernel.run(user.url, place, user.headers, cell) == shows
            status, headers, _ = user.ask("/notebook/shutdown")
            assert (status, urllib.parse.urlsplit(headers["Location"]).path) == (302, "/")
            assert running(served) == []
