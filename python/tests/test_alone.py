"""Where a site without perijove in front may have notebooks, and where it is told what to do."""

from __future__ import annotations

import sys
from pathlib import Path
from types import ModuleType

import pytest
from perijove import alone
from perijove.control import NotServed


@pytest.mark.parametrize(
    ("origin", "module", "workers", "expected"),
    [
        ("https://shop.example", "", "", "is reached as `https://shop.example`"),
        ("http://192.0.2.1:8000", "", "", "is reached as"),
        ("http://localhost.evil.example", "", "", "is reached as"),
        ("http://localhost:8000", "gunicorn", "", "runs under gunicorn"),
        ("http://localhost:8000", "uwsgi", "", "runs under uWSGI"),
        ("http://localhost:8000", "mod_wsgi", "", "runs under mod_wsgi"),
        ("http://127.0.0.1:8000", "", "3", "has 3 worker processes"),
    ],
)
def test_behind_another_server_it_says_how_to_put_perijove_in_front(
    origin: str, module: str, workers: str, expected: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    if module:
        monkeypatch.setitem(sys.modules, module, ModuleType(module))
    if workers:
        monkeypatch.setenv("WEB_CONCURRENCY", workers)
    with pytest.raises(NotServed, match="perijove serve") as told:
        alone.join(origin)
    assert expected in str(told.value)


def test_a_browser_is_sent_to_another_name_of_this_machine(tmp_path: Path) -> None:
    (tmp_path / "address").write_text("http://127.0.0.1:4711\n")
    hub = alone.Hub(tmp_path, tmp_path / "control.sock")
    there = {
        "http://localhost:8000": "http://127.0.0.1:4711/notebook/",
        "http://127.0.0.1:8000": "http://localhost:4711/notebook/",
        "http://[::1]:8000": "http://localhost:4711/notebook/",
    }
    for origin, expected in there.items():
        assert hub.address("/notebook/", origin) == expected
    assert hub.address("https://nb.example/x", "http://localhost") == "https://nb.example/x"


def test_without_the_command_it_says_what_to_install(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    monkeypatch.setenv("XDG_RUNTIME_DIR", str(tmp_path))
    monkeypatch.setattr(sys, "executable", str(tmp_path / "python"))
    with pytest.raises(NotServed, match="install perijove"):
        alone.join("http://localhost:8000")
    assert alone.join("http://localhost:8000", starts=False) is None
