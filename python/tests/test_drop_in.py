"""The original's import paths: each is there, works, or says what to do instead."""

from __future__ import annotations

import importlib
import os
import subprocess
import sys
from base64 import b64encode
from pathlib import Path
from typing import Any

import pytest
from fake_control import PYTHON, FakeControl
from perijove import pyramid as ours
from perijove import startup as our_startup
from pyramid import testing
from pyramid.httpexceptions import HTTPForbidden
from pyramid.request import Request
from pyramid_notebook import includeme, startup, views
from pyramid_notebook.utils import change_directory, make_dict_hash, route_to_alt_domain


def test_views_and_startup_are_ours() -> None:
    for name in ("launch_notebook", "shutdown_notebook", "notebook_proxy"):
        assert getattr(views, name) is getattr(ours, name)
    for name in startup.__all__:
        assert getattr(startup, name) is getattr(our_startup, name)


@pytest.mark.parametrize(
    ("module", "names"),
    [
        ("", "includeme"),
        (
            "views",
            "launch_notebook shutdown_notebook notebook_proxy launch_on_demand "
            "get_notebook_manager prepare_notebook_context proxy_it security_check",
        ),
        (
            "startup",
            "make_startup add_script add_greeting include_sqlalchemy_models get_dotted_path "
            "get_import_statement PYRAMID_BOOSTRAP PYRAMID_GREETING",
        ),
        ("utils", "change_directory route_to_alt_domain make_dict_hash"),
        ("notebookmanager", "NotebookManager"),
        ("server.comm", "check_pid get_context_file_name set_context get_context clear_context"),
        ("server.notebook_daemon", "main"),
        ("proxy", "WSGIProxyApplication is_hop_by_hop reconstruct_url"),
        ("uwsgi", "serve_websocket"),
        ("demo", "main"),
    ],
)
def test_all_of_the_originals_names_are_there(module: str, names: str) -> None:
    found = importlib.import_module(f"pyramid_notebook.{module}".rstrip("."))
    assert [name for name in names.split() if not hasattr(found, name)] == []


def test_what_is_gone_says_what_to_do() -> None:
    gone = importlib.import_module("pyramid_notebook.uwsgi").serve_websocket
    with pytest.raises(NotImplementedError, match="under perijove; hint: "):
        gone("anything", 40000)


def test_a_manager_is_made_of_the_sites_settings(tmp_path: Path) -> None:
    settings = {
        "pyramid_notebook.notebook_folder": f" {tmp_path}/notebooks",
        "pyramid_notebook.kill_timeout": "3600",
    }
    with testing.testConfig(settings=settings) as config:
        request = Request.blank("/")
        request.registry = config.registry
        manager = views.get_notebook_manager(request)
        assert manager.notebook_folder == f"{tmp_path}/notebooks"
        assert manager.kill_timeout == 3600
        config.registry.settings.clear()
        with pytest.raises(
            RuntimeError, match=r"Setting missing: pyramid_notebook\.notebook_folder"
        ):
            views.get_notebook_manager(request)


def test_a_context_is_prepared_with_what_follows_from_the_site() -> None:
    with testing.testConfig(settings={}) as config:
        config.add_route("notebook_proxy", "/notebook/*remainder")
        prepared = []
        for host in ("localhost", "site.example"):
            request = Request.blank("/", headers={"Host": host})
            request.registry = config.registry
            given = {"startup": "a = 1"}
            prepared.append(views.prepare_notebook_context(request, given))
            assert given == {"startup": "a = 1"}
        assert prepared[0]["notebook_path"] == "/notebook/"
        assert [each["allow_origin"] for each in prepared] == [
            "http://localhost",
            "http://site.example",
        ]
        # Another name of the host restarts nothing.
        assert prepared[0]["context_hash"] == prepared[1]["context_hash"]
        assert prepared[0]["context_hash"] == make_dict_hash({"startup": "a = 1"})
        assert views.prepare_notebook_context(request, {"context_hash": 7})["context_hash"] == 7
        with pytest.raises(TypeError):
            views.prepare_notebook_context(request, {"extra_template_paths": "x"})


@pytest.mark.parametrize("path", ["/shell1", "/shell2"])
def test_the_demo(path: str, control: FakeControl) -> None:
    from pyramid_notebook import demo

    app = demo.main({}, **{"demo.users": "user:password"})

    def ask(path: str, shown: str = "") -> Any:
        request = Request.blank(path)
        if shown:
            request.authorization = ("Basic", b64encode(shown.encode()).decode())
        return request.get_response(app)

    assert "pyramid_notebook test application" in ask("/").text
    for shown in ("", "user:wrong", "other:password", "nonsense"):
        assert ask(path, shown).status_int == 401
        assert ask("/notebook/user/lab", shown).status_int == 401
    assert control.requests == []
    assert ask(path, "user:password").status_int == 302
    greeting = control.last[2]["greeting"]
    assert ("**a** - a variable" in greeting) == (path == "/shell2")
    assert ask("/notebook/shutdown", "user:password").location == "http://localhost/"


def test_launch_on_demand_returns_the_context(control: FakeControl) -> None:
    with testing.testConfig(settings={}) as config:
        includeme(config)
        request = Request.blank("/")
        request.registry = config.registry
        context = views.launch_on_demand(request, "ada", None)
        assert context == {"notebook_name": "default-1a2b3c4d.ipynb"}
        with pytest.raises(HTTPForbidden):
            views.security_check(request, "")


def test_change_directory_comes_back(tmp_path: Path) -> None:
    before = os.getcwd()
    with change_directory(tmp_path) as place:
        assert place.current == os.path.realpath(tmp_path)
        assert place.previous == before
        assert os.path.normpath(os.path.join(before, place.relative)) == str(tmp_path)
    assert os.getcwd() == before


def test_users_scripts_need_neither_perijove_nor_pyramid() -> None:
    """A startup script of a site's own imports `change_directory` in a kernel's Python."""
    program = "import pyramid_notebook.utils, sys; assert 'pyramid' not in sys.modules"
    subprocess.run(
        [sys.executable, "-S", "-c", program],
        check=True,
        timeout=60,
        env={"PYTHONPATH": str(PYTHON / "pyramid_notebook")},
    )


@pytest.mark.parametrize(
    ("domain", "url", "expected"),
    [
        ("", "http://localhost/a", "http://localhost/a"),
        (None, "http://localhost/a", "http://localhost/a"),
        ("https://ws.example.com", "http://localhost/a?b=c", "https://ws.example.com/a?b=c"),
        ("https://ws.example.com/", "http://localhost", "https://ws.example.com"),
        ("https://ws.example.com", "http://localhost.evil/a", "http://localhost.evil/a"),
    ],
)
def test_addresses_move_to_the_alternative_domain(domain: Any, url: str, expected: str) -> None:
    with testing.testConfig(settings={"pyramid_notebook.alternative_domain": domain}) as config:
        request = Request.blank("/")
        request.registry = config.registry
        assert route_to_alt_domain(request, url) == expected


def test_the_hash_is_the_same_in_every_process() -> None:
    context = "{'b': [1, 'x', None], 'a': {'s': {3, 1, 2}, 't': (1.5, True)}}"
    program = f"from pyramid_notebook.utils import make_dict_hash; print(make_dict_hash({context}))"
    seen = {
        subprocess.run(
            [sys.executable, "-c", program],
            check=True,
            timeout=60,
            capture_output=True,
            text=True,
            env={"PYTHONPATH": str(PYTHON / "pyramid_notebook"), "PYTHONHASHSEED": seed},
        ).stdout.strip()
        for seed in ("1", "2")
    }
    assert seen == {str(make_dict_hash(eval(context)))}


@pytest.mark.parametrize(
    ("one", "other", "equal"),
    [
        ({"a": 1, "b": 2}, {"b": 2, "a": 1}, True),
        ([1, 2], (1, 2), True),
        ({1, 2}, {2, 1}, True),
        ([1, 2], [2, 1], False),
        ({"a": -1}, {"a": -2}, False),
        ({"a": "1"}, {"a": 1}, False),
        (["a", "b"], ["a,b"], False),
        ([["a"], "b"], ["a", ["b"]], False),
    ],
)
def test_the_hash_tells_contents_apart(one: Any, other: Any, equal: bool) -> None:
    assert (make_dict_hash(one) == make_dict_hash(other)) is equal


def test_only_plain_data_has_a_hash() -> None:
    with pytest.raises(TypeError, match="plain data"):
        make_dict_hash({"a": object()})
