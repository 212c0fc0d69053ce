"""The three functions in Django, Flask, Starlette and FastAPI: one set of rules for all."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable
from typing import Any
from urllib.parse import unquote

import django
import flask
import pytest
from anyio import from_thread
from django.conf import settings
from django.core.asgi import get_asgi_application
from django.test import Client
from django.urls import path, re_path
from fake_control import FakeControl
from fastapi import FastAPI, Request
from starlette.applications import Starlette
from starlette.responses import PlainTextResponse, RedirectResponse
from starlette.routing import Mount, Route

settings.configure(
    ALLOWED_HOSTS=["localhost"],
    CSRF_COOKIE_SECURE=False,
    MIDDLEWARE=[
        "django.middleware.common.CommonMiddleware",
        "django.middleware.csrf.CsrfViewMiddleware",
    ],
    ROOT_URLCONF=__name__,
    SECRET_KEY="none",
)
django.setup()

from perijove import django as on_django  # noqa: E402
from perijove import flask as on_flask  # noqa: E402
from perijove import starlette as on_starlette  # noqa: E402

CONTEXT = {"startup": "a = 1\n", "http_port": 40001}
PLACE = "/notebook/ada/lab/tree/default-1a2b3c4d.ipynb"

FOREIGN = {"Sec-Fetch-Site": "cross-site", "Sec-Fetch-Mode": "no-cors", "Sec-Fetch-Dest": "image"}
FOLLOWED = {
    "Sec-Fetch-Site": "cross-site",
    "Sec-Fetch-Mode": "navigate",
    "Sec-Fetch-Dest": "document",
}
FRAMED = {**FOLLOWED, "Sec-Fetch-Dest": "iframe"}

#: What proves to Django that a form is one of its own.
TOKEN = "t" * 32

#: What a site's views take as the name of whoever asks: the header `User` here.
Ask = Callable[..., tuple[int, dict[str, str], str]]


def lower(headers: Any) -> dict[str, str]:
    return {name.lower(): value for name, value in headers.items()}


def who(request: Any) -> str | None:
    return request.headers.get("User")


async def alaunch(request: Any) -> Any:
    return await on_django.alaunch_notebook(request, who(request), CONTEXT)


async def ashutdown(request: Any) -> Any:
    return await on_django.ashutdown_notebook(request, who(request)) or django_home(request)


def django_home(_request: Any) -> Any:
    from django.http import HttpResponse

    return HttpResponse("home")


urlpatterns = [
    path("launch", lambda request: on_django.launch_notebook(request, who(request), CONTEXT)),
    path(
        "notebook/shutdown",
        lambda request: on_django.shutdown_notebook(request, who(request)) or django_home(request),
    ),
    path("alaunch", alaunch),
    path("ashutdown", ashutdown),
    re_path("^notebook/", lambda request: on_django.notebook_proxy(request, who(request))),
]


def ask_django(method: str, place: str, headers: dict[str, str]) -> Any:
    answer = Client().generic(method, place, headers={"Host": "localhost", **headers})
    return answer.status_code, lower(answer.headers), answer.content.decode()


def ask_django_async(method: str, place: str, headers: dict[str, str]) -> Any:
    place = {"/launch": "/alaunch", "/notebook/shutdown": "/ashutdown"}.get(place, place)
    token = {"Cookie": f"csrftoken={TOKEN}", "X-CSRFToken": TOKEN}
    return asking(get_asgi_application())(method, place, token | headers)


def flask_site() -> flask.Flask:
    app = flask.Flask(__name__)

    def user() -> str | None:
        return flask.request.headers.get("User")

    @app.route("/launch", methods=["GET", "POST"])
    def launch() -> Any:
        return on_flask.launch_notebook(user(), CONTEXT)

    @app.get("/")
    def home() -> str:
        return "home"

    app.register_blueprint(on_flask.blueprint(user))
    return app


def ask_flask(method: str, place: str, headers: dict[str, str]) -> Any:
    answer = flask_site().test_client().open(place, method=method, headers=headers)
    return answer.status_code, lower(answer.headers), answer.text


def starlette_site() -> Starlette:
    async def launch(request: Any) -> Any:
        return await on_starlette.launch_notebook(request, who(request), CONTEXT)

    async def shutdown(request: Any) -> Any:
        await on_starlette.shutdown_notebook(request, who(request))
        return RedirectResponse("/", 303)

    async def notebook(request: Any) -> Any:
        return on_starlette.notebook_proxy(request, who(request))

    return Starlette(
        routes=[
            Route("/", lambda _request: PlainTextResponse("home")),
            Route("/launch", launch, methods=["GET", "POST"]),
            Route("/notebook/shutdown", shutdown, methods=["GET", "POST"]),
            Route("/notebook/{remainder:path}", notebook),
        ]
    )


def fastapi_site() -> FastAPI:
    app = FastAPI()

    @app.api_route("/launch", methods=["GET", "POST"])
    async def launch(request: Request) -> Any:
        return await on_starlette.launch_notebook(request, who(request), CONTEXT)

    @app.get("/launch-in-thread")
    def launch_in_thread(request: Request) -> Any:
        return from_thread.run(on_starlette.launch_notebook, request, who(request), CONTEXT)

    @app.api_route("/notebook/shutdown", methods=["GET", "POST"])
    async def shutdown(request: Request) -> Any:
        await on_starlette.shutdown_notebook(request, who(request))
        return RedirectResponse("/", 303)

    @app.get("/notebook/{remainder:path}")
    def notebook(request: Request) -> Any:
        return on_starlette.notebook_proxy(request, who(request))

    return app


def asking(app: Any) -> Ask:
    """One request to an ASGI application, as a server would put it."""

    def ask(method: str, place: str, headers: dict[str, str]) -> Any:
        path, _, query = place.partition("?")
        fields = {"host": "localhost", **lower(headers)}
        scope = {
            "type": "http",
            "asgi": {"version": "3.0"},
            "http_version": "1.1",
            "method": method,
            "scheme": "http",
            "path": unquote(path),
            "raw_path": path.encode(),
            "query_string": query.encode(),
            "headers": [(name.encode(), value.encode()) for name, value in fields.items()],
        }
        sent: list[Any] = []
        come: list[bool] = []

        async def receive() -> Any:
            if come:
                await asyncio.Event().wait()
            come.append(True)
            return {"type": "http.request", "body": b"", "more_body": False}

        async def send(message: Any) -> None:
            sent.append(message)

        asyncio.run(app(scope, receive, send))
        begin, *pieces = sent
        answered = {name.decode().lower(): value.decode() for name, value in begin["headers"]}
        return begin["status"], answered, b"".join(one["body"] for one in pieces).decode()

    return ask


SITES: dict[str, Ask] = {
    "django": ask_django,
    "django-async": ask_django_async,
    "flask": ask_flask,
    "starlette": asking(starlette_site()),
    "fastapi": asking(fastapi_site()),
}


@pytest.fixture(params=SITES)
def ask(request: Any) -> Ask:
    return SITES[request.param]


def test_a_launch_leads_to_the_notebook(ask: Ask, control: FakeControl) -> None:
    status, headers, _ = ask("GET", "/launch", {"User": "ada@example.com"})
    assert (status, headers["cache-control"]) == (302, "no-store")
    assert headers["location"].endswith(PLACE.replace("ada", "ada%40example%2Ecom"))
    method, place, body = control.last
    assert (method, place) == ("POST", "/notebooks/ada%40example%2Ecom")
    assert body["startup"] == "a = 1\n"
    assert "http_port" not in body


@pytest.mark.parametrize("user", [{}, {"User": ""}])
def test_nobody_gets_nothing(user: dict[str, str], ask: Ask, control: FakeControl) -> None:
    for place in ("/launch", "/notebook/shutdown", "/notebook/ada/lab"):
        status, headers, _ = ask("GET", place, user | {"Perijove-Question": "notebook"})
        assert status == 403, place
        assert "perijove-user" not in headers
    assert control.requests == []


@pytest.mark.parametrize(
    ("method", "headers", "launches", "stops"),
    [
        ("GET", {}, True, True),
        ("GET", FOREIGN, False, False),
        ("GET", FRAMED, False, False),
        ("POST", {"Origin": "http://localhost"}, True, True),
        ("POST", {"Origin": "https://evil.example"}, False, False),
        ("POST", {"Origin": "null"}, False, False),
        ("POST", {**FOLLOWED, "Origin": "https://evil.example"}, False, False),
    ],
)
def test_other_sites_pages_change_nothing(
    method: str,
    headers: dict[str, str],
    launches: bool,
    stops: bool,
    ask: Ask,
    control: FakeControl,
) -> None:
    for place, passes in (("/launch", launches), ("/notebook/shutdown", stops)):
        before = len(control.requests)
        status, _, _ = ask(method, place, {"User": "ada", **headers})
        assert (status < 400) is passes, (place, status)
        assert len(control.requests) == before + passes


def test_a_link_on_another_sites_page_asks_the_user_first(ask: Ask, control: FakeControl) -> None:
    assert ask("GET", "/launch", {"User": "ada", **FOLLOWED})[0] == 302
    assert control.last[2]["from-elsewhere"] is True
    known = {"user": "ada", "name": "", "state": "ready", "url": PLACE}
    control.answer = lambda *_: (200, known)
    status, headers, _ = ask("GET", "/notebook/shutdown", {"User": "ada", **FOLLOWED})
    assert (status, headers["location"]) == (303, "/notebook/ada/-/stop")
    assert control.last[0] == "GET"


def test_a_form_is_answered_with_see_other(ask: Ask, control: FakeControl) -> None:
    assert ask("POST", "/launch", {"User": "ada"})[0] == 303


@pytest.mark.parametrize(
    ("place", "method", "remembered"),
    [
        ("/notebook/", "", "private, max-age=4"),
        ("/notebook/ada/lab", "GET", "private, max-age=4"),
        ("/notebook/ada/files/a//b%20c;d?x=1", "HEAD", "private, max-age=4"),
        ("/notebook/ada/api/kernels", "POST", "private, no-store"),
    ],
)
def test_the_question_is_answered_with_the_users_name(
    place: str, method: str, remembered: str, ask: Ask
) -> None:
    asked = {"User": "a.b", "Perijove-Question": "notebook"}
    status, headers, text = ask(
        "GET", place, asked | ({"Perijove-Method": method} if method else {})
    )
    assert (status, text) == (200, "")
    assert headers["perijove-user"] == "a%2Eb"
    assert headers["cache-control"] == remembered


def test_without_perijove_in_front_the_page_says_so(
    ask: Ask, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("PERIJOVE_CONTROL", raising=False)
    # Not on a developer's machine, where notebooks work without.
    monkeypatch.setenv("WEB_CONCURRENCY", "2")
    for place in ("/launch", "/notebook/ada/lab"):
        status, _, text = ask("GET", place, {"User": "ada"})
        assert status == 500
        assert "perijove serve" in text


@pytest.mark.parametrize(("status", "expected"), [(401, 500), (409, 409), (422, 422), (503, 503)])
def test_perijoves_reason_reaches_the_user(
    status: int, expected: int, ask: Ask, control: FakeControl
) -> None:
    control.answer = lambda *_: (status, {"error": "the reason", "hint": "what to do"})
    for place in ("/launch", "/notebook/shutdown"):
        told, _, text = ask("GET", place, {"User": "ada"})
        assert told == expected
        assert "the reason; hint: what to do" in text


def test_perijove_away_is_a_matter_of_trying_again(ask: Ask, control: FakeControl) -> None:
    control.answer = lambda *_: (200, b"nonsense")
    status, headers, _ = ask("GET", "/launch", {"User": "ada"})
    assert (status, headers["retry-after"]) == (503, "2")


def test_a_notebook_where_the_site_has_no_view_is_told(ask: Ask, control: FakeControl) -> None:
    control.answer = lambda *_: (200, {"url": "/nb/ada/lab", "state": "ready", "created": False})
    status, _, text = ask("GET", "/launch", {"User": "ada"})
    assert status == 500
    assert "the site has no view for it there" in text


@pytest.mark.parametrize("url", ["//evil.example/", "javascript:x", "notebook/", ""])
def test_a_redirect_leads_nowhere_else(url: str, ask: Ask, control: FakeControl) -> None:
    control.answer = lambda *_: (200, {"url": url, "state": "ready", "created": False})
    assert ask("GET", "/launch", {"User": "ada"})[0] == 503


def test_an_origin_of_its_own_is_followed(ask: Ask, control: FakeControl) -> None:
    url = "https://nb.example.com/notebook/ada/?ticket=x"
    control.answer = lambda *_: (200, {"url": url, "state": "ready", "created": False})
    assert ask("GET", "/launch", {"User": "ada"})[1]["location"] == url


def test_an_endpoint_in_a_thread_launches_too(control: FakeControl) -> None:
    status, headers, _ = SITES["fastapi"]("GET", "/launch-in-thread", {"User": "ada"})
    assert (status, headers["location"]) == (302, PLACE)


def test_what_is_mounted_somewhere_finds_its_notebooks(control: FakeControl) -> None:
    """The views for notebooks may be another application's, beside this one."""
    control.answer = lambda *_: (200, {"url": PLACE, "state": "ready", "created": True})

    async def launch(request: Any) -> Any:
        return await on_starlette.launch_notebook(request, "ada")

    inner = Starlette(routes=[Route("/launch", launch)])
    outer = Starlette(routes=[Mount("/app", inner), Route("/notebook/{rest:path}", launch)])
    assert asking(outer)("GET", "/app/launch", {})[0] == 302
    client = flask_site().test_client()
    answer = client.get("/launch", headers={"User": "ada"}, base_url="http://localhost/app")
    assert answer.status_code == 302
    mounted = Client().get(
        "/launch", headers={"Host": "localhost", "User": "ada"}, SCRIPT_NAME="/app"
    )
    assert mounted.status_code == 302


def test_djangos_forms_show_their_token(control: FakeControl) -> None:
    client = Client(enforce_csrf_checks=True)
    refused = client.post("/launch", headers={"User": "ada", "Host": "localhost"})
    assert (refused.status_code, control.requests) == (403, [])
    client.cookies["csrftoken"] = TOKEN
    launched = client.post(
        "/launch", {"csrfmiddlewaretoken": TOKEN}, headers={"User": "ada", "Host": "localhost"}
    )
    assert launched.status_code == 303


def test_the_loop_goes_on_while_perijove_is_asked(control: FakeControl) -> None:
    """The control socket answers only when the loop has done something else meanwhile."""
    went_on = threading.Event()

    def late(*asked: Any) -> tuple[int, Any]:
        assert went_on.wait(60)
        return 200, {"url": PLACE, "state": "ready", "created": True}

    control.answer = late
    request = Request(
        {
            "type": "http",
            "method": "GET",
            "path": "/launch",
            "headers": [(b"host", b"localhost")],
            "query_string": b"",
            "app": starlette_site(),
        }
    )

    async def both() -> Any:
        launch = asyncio.create_task(on_starlette.launch_notebook(request, "ada"))
        while not launch.done() and not control.requests:
            await asyncio.sleep(0)
        went_on.set()
        return await launch

    assert asyncio.run(both()).headers["location"] == PLACE
