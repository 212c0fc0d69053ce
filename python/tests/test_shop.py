"""The demo site by itself: who may do what, and that it starts the same everywhere."""

from __future__ import annotations

import importlib
import multiprocessing
import re
import sqlite3
import stat
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest
from fake_control import FakeControl
from visits import Visitor, load

LAUNCHED = "http://localhost/notebook/user/lab/tree/default-1a2b3c4d.ipynb"


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return tmp_path / "pyramid-site"


@pytest.fixture
def app(tmp_path: Path) -> Iterator[Any]:
    app = load("pyramid-site", "production.ini", tmp_path)
    yield app
    app.registry["shop.sessions"].kw["bind"].dispose()


@pytest.fixture
def user(app: Any) -> Visitor:
    visitor = Visitor(app)
    visitor.sign_in("user")
    return visitor


@pytest.fixture
def guest(app: Any) -> Visitor:
    visitor = Visitor(app)
    visitor.sign_in("guest")
    return visitor


def test_everybody_sees_the_figures(app: Any) -> None:
    page = Visitor(app).get("/")
    assert page.status_int == 200
    assert page.text.count("<svg") == 2
    assert "http" not in re.sub(r'xmlns="[^"]*"', "", page.text)


@pytest.mark.parametrize("path", ["/%ff", "/notebook/%ff/lab", "/login?next=%ff"])
def test_what_is_no_text_is_a_bad_request(path: str, app: Any) -> None:
    answer = Visitor(app).get(path)
    assert (answer.status_int, "cannot be read" in answer.text) == (400, True)


@pytest.mark.parametrize("path", ["/orders", "/orders/17", "/shell1", "/notebook/user/lab"])
def test_strangers_are_asked_to_sign_in_and_led_back(path: str, app: Any) -> None:
    stranger = Visitor(app)
    answer = stranger.get(path)
    assert answer.status_int == 303
    assert answer.location.startswith("http://localhost/login?next=")
    again = stranger.post("/login", {"username": "user", "password": "password", "next": path})
    assert (again.status_int, again.location) == (303, f"http://localhost{path}")


@pytest.mark.parametrize(
    "place", ["https://evil.example/", "//evil.example/", "/\\evil.example", "/a\r\nX: y", ""]
)
def test_signing_in_leads_nowhere_else(place: str, app: Any) -> None:
    answer = Visitor(app).post(
        "/login", {"username": "user", "password": "password", "next": place}
    )
    assert answer.location == "http://localhost/"


@pytest.mark.parametrize(
    ("user", "password"),
    [("user", "wrong"), ("nobody", "password"), ("nobody", ""), ("", ""), ("user", "pässword")],
)
def test_wrong_passwords_sign_nobody_in(user: str, password: str, app: Any) -> None:
    visitor = Visitor(app)
    assert visitor.sign_in(user, password).status_int == 403
    assert visitor.get("/orders").status_int == 303


def test_shells_start_with_models_and_session(user: Visitor, control: FakeControl) -> None:
    for path, words in {
        "/shell1": ["from shop.models import Order", "session = "],
        "/shell2": ["from shop.models import Order", "session = ", "a = 'foo'"],
        "/orders/17/shell": ["order = session.get(Order, 17)"],
    }.items():
        answer = user.get(path)
        assert (answer.status_int, answer.location) == (302, LAUNCHED)
        method, address, body = control.last
        assert (method, address) == ("POST", "/notebooks/user")
        for word in words:
            assert word in body["startup"]
        assert body["settings"]["kill-timeout"] == 28800
        assert body["settings"]["folder"].endswith("/var/notebooks")
    assert user.get("/orders/9999/shell").status_int == 404


def test_the_same_shell_is_the_same_launch(app: Any, control: FakeControl) -> None:
    for _ in range(2):
        visitor = Visitor(app)
        visitor.sign_in("user2")
        visitor.get("/shell2")
    (first, second) = (body for _, _, body in control.requests)
    # Who has come is told beside it: a session of their own each.
    assert first.pop("visitor") != second.pop("visitor")
    assert first == second
    assert control.requests[0] == control.requests[1]


def test_a_guest_looks_but_gets_no_shell(guest: Visitor, control: FakeControl) -> None:
    assert guest.get("/orders").status_int == 200
    assert "/shell1" not in guest.get("/").text
    for path in ("/shell1", "/shell2", "/orders/17/shell", "/notebook/shutdown"):
        assert guest.get(path).status_int == 403
    assert [asked for asked in control.requests if asked[0] != "GET"] == []
    answer = guest.get("/notebook/user/lab", Perijove_Question="notebook")
    assert answer.status_int == 403
    assert "Perijove-User" not in answer.headers


def test_the_question_names_the_visitor(user: Visitor, app: Any) -> None:
    answer = user.get("/notebook/user2/lab", Perijove_Question="notebook")
    assert (answer.status_int, answer.headers["Perijove-User"]) == (200, "user")
    answer = Visitor(app).get("/notebook/user2/lab", Perijove_Question="notebook")
    assert answer.status_int == 303
    assert "Perijove-User" not in answer.headers


def test_a_name_struck_off_the_list_loses_its_shell(
    user: Visitor, folder: Path, control: FakeControl
) -> None:
    ini = folder / "production.ini"
    question = {"Perijove_Question": "notebook"}
    assert user.get("/notebook/user/", **question).status_int == 200
    ini.write_text(ini.read_text().replace("    user\n", ""))
    assert user.get("/notebook/user/", **question).status_int == 403
    assert user.get("/shell1").status_int == 403


def test_shutting_down(user: Visitor, control: FakeControl) -> None:
    token = re.search(r'name="csrf_token" value="([^"]+)"', user.get("/").text)
    assert token is not None
    own = {"Origin": "http://localhost", "Sec_Fetch_Site": "same-origin"}
    for answer in (
        user.get("/notebook/shutdown", Sec_Fetch_Site="same-origin"),
        user.post("/notebook/shutdown", {"csrf_token": token[1]}, **own),
    ):
        assert (answer.status_int, answer.location) == (303, "http://localhost/")
        assert control.last[:2] == ("DELETE", "/notebooks/user")
    assert "was shut down" in user.get("/").text


def test_other_sites_pages_shut_nothing_down(user: Visitor, control: FakeControl) -> None:
    foreign = {"Sec_Fetch_Site": "cross-site", "Sec_Fetch_Mode": "navigate"}
    answers = [
        user.get("/notebook/shutdown", **foreign),
        user.post("/notebook/shutdown", {}, Origin="https://evil.example"),
        user.post("/notebook/shutdown", {"csrf_token": "guess"}, Origin="http://localhost"),
        user.post("/login", {"username": "user2", "password": "password"}, Origin="null"),
    ]
    assert [answer.status_int for answer in answers] == [403, 400, 400, 400]
    assert [asked for asked in control.requests if asked[0] == "DELETE"] == []


def test_signing_out_ends_the_login(user: Visitor) -> None:
    assert user.get("/logout", Sec_Fetch_Site="cross-site").status_int == 403
    assert user.get("/orders").status_int == 200
    user.get("/logout")
    assert user.get("/orders").status_int == 303


def test_without_perijove_the_pages_say_so(user: Visitor, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("PERIJOVE_CONTROL", raising=False)
    # Not on a developer's machine, where notebooks work without.
    monkeypatch.setenv("WEB_CONCURRENCY", "2")
    for path in ("/shell1", "/notebook/user/lab"):
        answer = user.get(path)
        assert answer.status_int == 500
        assert "perijove serve" in answer.text
    assert user.get("/").status_int == 200


def test_what_it_makes_is_readable_by_nobody_else(app: Any, folder: Path) -> None:
    for name in ("session.secret", "shop.sqlite"):
        assert stat.S_IMODE((folder / "var" / name).stat().st_mode) == 0o600
    assert stat.S_IMODE((folder / "var").stat().st_mode) == 0o700
    assert sorted(p.name for p in (folder / "var").iterdir()) == ["session.secret", "shop.sqlite"]


def test_the_database_is_the_same_everywhere(app: Any, folder: Path, tmp_path: Path) -> None:
    other = tmp_path / "again.sqlite"
    other.touch()
    importlib.import_module("shop.seed").fill(other)
    dumps = []
    for path in (folder / "var/shop.sqlite", other):
        with closing(sqlite3.connect(path)) as database:
            dumps.append("\n".join(database.iterdump()))
    assert dumps[0] == dumps[1]
    with closing(sqlite3.connect(other)) as database:
        (orders,) = database.execute("select count(*) from orders").fetchone()
        (months,) = database.execute(
            "select count(distinct substr(placed, 1, 7)) from orders"
        ).fetchone()
    assert 400 <= orders <= 600
    assert months == 24


def test_workers_that_start_together_make_one_file(app: Any, tmp_path: Path) -> None:
    make_once = importlib.import_module("shop.once").make_once
    path = tmp_path / "made"
    context = multiprocessing.get_context("fork")
    ready = context.Barrier(4)

    def write(draft: Path) -> None:
        ready.wait(30)  # all four are past the look whether it exists
        draft.write_text(draft.name)

    workers = [context.Process(target=make_once, args=(path, write)) for _ in range(4)]
    for worker in workers:
        worker.start()
    for worker in workers:
        worker.join(60)
        assert worker.exitcode == 0
    assert path.read_text().startswith(".made.")
    assert list(tmp_path.glob(".made.*")) == []
