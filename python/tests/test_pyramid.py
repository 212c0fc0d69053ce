"""The functions for Pyramid's views: redirects, the answer to perijove's question, refusals."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest
from fake_control import FakeControl
from perijove.pyramid import includeme, launch_notebook, notebook_proxy, shutdown_notebook
from pyramid import testing
from pyramid.exceptions import ConfigurationError
from pyramid.httpexceptions import (
    HTTPException,
    HTTPForbidden,
    HTTPFound,
    HTTPInternalServerError,
    HTTPSeeOther,
    HTTPServiceUnavailable,
)
from pyramid.request import Request

FOREIGN = {"Sec-Fetch-Site": "cross-site", "Sec-Fetch-Mode": "no-cors", "Sec-Fetch-Dest": "image"}
FOLLOWED = {
    "Sec-Fetch-Site": "cross-site",
    "Sec-Fetch-Mode": "navigate",
    "Sec-Fetch-Dest": "document",
}
FRAMED = {**FOLLOWED, "Sec-Fetch-Dest": "iframe"}
# A name below the same domain may be anybody's.
SIBLING = {"Sec-Fetch-Site": "same-site"}
OWN = {"Sec-Fetch-Site": "same-origin", "Sec-Fetch-Mode": "cors", "Sec-Fetch-Dest": "empty"}


@pytest.fixture
def site() -> Iterator[Any]:
    with testing.testConfig(settings={}) as config:
        config.add_route("notebook_proxy", "/notebook/*remainder")
        yield config


def ask(site: Any, method: str = "GET", **headers: str) -> Any:
    request = Request.blank("/shell1", method=method)
    request.headers.update({key.replace("_", "-"): value for key, value in headers.items()})
    request.registry = site.registry
    return request


def test_a_launch_leads_to_the_notebook(site: Any, control: FakeControl) -> None:
    context = {"startup": "a = 1\n", "greeting": "hello", "context_hash": 7}
    redirect = launch_notebook(ask(site), "ada", notebook_context=context)
    assert isinstance(redirect, HTTPFound)
    assert redirect.location == "/notebook/ada/lab/tree/default-1a2b3c4d.ipynb"
    assert control.last == (
        "POST",
        "/notebooks/ada",
        {**context, "when-busy": "ask"},
    )


def test_a_launch_by_a_form_answers_see_other(site: Any, control: FakeControl) -> None:
    assert isinstance(launch_notebook(ask(site, "POST"), "ada"), HTTPSeeOther)


def test_the_callers_context_stays_as_it_is(site: Any, control: FakeControl) -> None:
    context = {"startup": "", "http_port": 40001, "allow_origin": "x", "mine": [1]}
    before = dict(context)
    launch_notebook(ask(site), "ada", context)
    assert context == before
    # What the original's framework filled in is no part of what a launch means.
    assert control.last[2] == {"startup": "", "mine": [1], "when-busy": "ask"}


def test_the_ini_settings_are_handed_over(site: Any, control: FakeControl) -> None:
    site.registry.settings.update(
        {
            "pyramid_notebook.notebook_folder": "/srv/notebooks ",
            "pyramid_notebook.kill_timeout": " 3600",
            "pyramid_notebook.websocket_proxy": "pyramid_notebook.uwsgi.serve_websocket",
            "pyramid_notebook.port_base": "41000",
            "pyramid_notebook.alternative_domain": "",
        }
    )
    launch_notebook(ask(site), "ada")
    told = {"folder": "/srv/notebooks", "kill-timeout": 3600}
    assert control.last[2]["settings"] == told
    site.registry.settings["pyramid_notebook.alternative_domain"] = "https://nb.example.com"
    launch_notebook(ask(site), "ada")
    assert control.last[2]["settings"] == told | {"domain": "https://nb.example.com"}


def test_who_has_come_is_told_for_a_domain_where_their_cookies_do_not_go(
    site: Any, control: FakeControl
) -> None:
    url = "https://nb.example.com/notebook/-/ticket?ticket=x"
    control.answer = lambda *_: (200, {"url": url, "state": "ready", "created": True})
    redirect = launch_notebook(ask(site, Cookie="session=s", X_Real_IP="192.0.2.7"), "ada")
    assert redirect.location == url
    assert control.last[2]["visitor"] == {
        "origin": "http://localhost",
        "fields": {"Cookie": "session=s"},
        "address": "192.0.2.7",
    }


@pytest.mark.parametrize(
    ("key", "value", "words"),
    [
        ("kill_timeout", "1h", "whole seconds"),
        ("kill_timeout", "-1", "whole seconds"),
    ],
)
def test_a_setting_that_cannot_work_is_told(
    key: str, value: str, words: str, site: Any, control: FakeControl
) -> None:
    site.registry.settings[f"pyramid_notebook.{key}"] = value
    with pytest.raises(HTTPInternalServerError, match=words):
        launch_notebook(ask(site), "ada")
    with pytest.raises(ConfigurationError, match=words):
        includeme(site)
    assert control.requests == []


@pytest.mark.parametrize("function", [launch_notebook, notebook_proxy, shutdown_notebook])
@pytest.mark.parametrize("nobody", [None, ""])
def test_nobody_gets_nothing(function: Any, nobody: Any, site: Any, control: FakeControl) -> None:
    with pytest.raises(HTTPForbidden, match="nobody is signed in"):
        function(ask(site, Perijove_Question="notebook"), nobody)
    assert control.requests == []


@pytest.mark.parametrize(
    ("method", "headers", "launches", "stops"),
    [
        ("GET", {}, True, True),
        ("GET", OWN, True, True),
        ("GET", FOREIGN, False, False),
        ("GET", FRAMED, False, False),
        ("GET", {**FOREIGN, **SIBLING}, False, False),
        ("POST", {"Origin": "http://localhost"}, True, True),
        ("POST", {"Origin": "http://localhost:81"}, False, False),
        ("POST", {"Origin": "https://localhost", **OWN}, True, True),
        ("POST", {"Origin": "http://a.localhost", "Sec-Fetch-Site": "same-site"}, False, False),
        ("POST", {"Origin": "null"}, False, False),
        ("POST", {"Origin": "https://evil.example"}, False, False),
    ],
)
def test_other_sites_pages_change_nothing(
    method: str,
    headers: dict[str, str],
    launches: bool,
    stops: bool,
    site: Any,
    control: FakeControl,
) -> None:
    for function, passes in ((launch_notebook, launches), (shutdown_notebook, stops)):
        before = len(control.requests)
        if passes:
            function(ask(site, method, **headers), "ada")
        else:
            with pytest.raises(HTTPForbidden, match="site"):
                function(ask(site, method, **headers), "ada")
        assert len(control.requests) == before + passes


@pytest.mark.parametrize("headers", [FOLLOWED, {**FOLLOWED, **SIBLING}])
def test_a_link_on_another_sites_page_asks_the_user_first(
    headers: dict[str, str], site: Any, control: FakeControl
) -> None:
    """A GET may start or join a notebook; to stop or replace one is for the user to say."""
    launch_notebook(ask(site, **headers), "ada")
    assert control.last[2] == {"when-busy": "ask", "from-elsewhere": True}
    launch_notebook(ask(site, **OWN), "ada")
    assert "from-elsewhere" not in control.last[2]

    state = "ready"

    def known(method: str, path: str, _body: Any) -> tuple[int, Any]:
        url = path.replace("/notebooks/", "/notebook/").replace("/side", "/~side")
        return 200, {"user": "ada", "name": "", "state": state, "url": f"{url}/lab/tree/a.ipynb"}

    control.answer = known
    for name, page in ((None, "/notebook/ada/-/stop"), ("side", "/notebook/ada/~side/-/stop")):
        with pytest.raises(HTTPSeeOther) as asking:
            shutdown_notebook(ask(site, **headers), "ada", name)
        assert asking.value.location == page
        assert control.last[0] == "GET"
    state = "absent"
    assert shutdown_notebook(ask(site, **headers), "ada") is None
    assert control.last[0] == "GET"


def test_a_shutdown_stops_and_minds_nothing_missing(site: Any, control: FakeControl) -> None:
    assert shutdown_notebook(ask(site), "ada@example.com") is None
    assert control.last == ("DELETE", "/notebooks/ada%40example%2Ecom", None)
    control.answer = lambda *_: (404, {"error": "no notebook", "hint": ""})
    assert shutdown_notebook(ask(site), "ada") is None


@pytest.mark.parametrize(
    ("user", "method", "expected", "remembered"),
    [
        ("ada", "", "ada", "private, max-age=4"),
        ("ada", "GET", "ada", "private, max-age=4"),
        ("秀樹", "HEAD", "%E7%A7%80%E6%A8%B9", "private, max-age=4"),
        ("ada@example.com", "DELETE", "ada%40example%2Ecom", "private, no-store"),
        ("a\r\nSet-Cookie: b", "POST", "a%0D%0ASet-Cookie%3A%20b", "private, no-store"),
    ],
)
def test_the_question_is_answered_with_the_users_name(
    user: str, method: str, expected: str, remembered: str, site: Any
) -> None:
    headers = {"Perijove_Question": "notebook"} | ({"Perijove_Method": method} if method else {})
    answer = notebook_proxy(ask(site, **headers), user)
    assert (answer.status_int, answer.body) == (200, b"")
    assert answer.headers["Perijove-User"] == expected
    assert answer.headers["Cache-Control"] == remembered


def test_without_perijove_in_front_the_page_says_so(
    site: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("PERIJOVE_CONTROL", raising=False)
    # Not on a developer's machine, where notebooks work without.
    monkeypatch.setenv("WEB_CONCURRENCY", "2")
    with pytest.raises(HTTPInternalServerError, match="perijove serve"):
        notebook_proxy(ask(site), "ada")
    with pytest.raises(HTTPInternalServerError, match="perijove serve"):
        launch_notebook(ask(site), "ada")


def test_a_route_elsewhere_than_the_notebooks_is_told(site: Any, control: FakeControl) -> None:
    with pytest.raises(HTTPInternalServerError, match=r"under `\[notebook\]`"):
        notebook_proxy(ask(site), "ada")
    site.add_route("notebook_proxy", "/nb/*remainder")
    with pytest.raises(HTTPInternalServerError, match='path = "/nb/"'):
        launch_notebook(ask(site), "ada")


@pytest.mark.parametrize(
    ("status", "expected"),
    [(400, 400), (401, 500), (403, 500), (409, 409), (422, 422), (503, 503), (599, 500)],
)
def test_perijoves_reason_reaches_the_user(
    status: int, expected: int, site: Any, control: FakeControl
) -> None:
    control.answer = lambda *_: (status, {"error": "the reason", "hint": "what to do"})
    with pytest.raises(HTTPException, match="the reason; hint: what to do") as failure:
        launch_notebook(ask(site), "ada")
    assert failure.value.status_int == expected


def test_perijove_away_is_a_matter_of_trying_again(site: Any, control: FakeControl) -> None:
    control.answer = lambda *_: (200, b"nonsense")
    with pytest.raises(HTTPServiceUnavailable) as failure:
        launch_notebook(ask(site), "ada")
    assert failure.value.headers["Retry-After"] == "2"


@pytest.mark.parametrize("url", ["//evil.example/", "javascript:x", "notebook/", ""])
def test_a_redirect_leads_nowhere_else(url: str, site: Any, control: FakeControl) -> None:
    control.answer = lambda *_: (200, {"url": url, "state": "ready", "created": False})
    with pytest.raises(HTTPServiceUnavailable, match="no notebook's address"):
        launch_notebook(ask(site), "ada")
