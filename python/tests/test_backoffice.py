"""A site written for pyramid_notebook 0.x, on the drop-in: its three views, its list, its shell."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from fake_control import PACKAGES, FakeControl
from visits import Visitor, load


@pytest.fixture
def app(tmp_path: Path) -> Iterator[Any]:
    yield load("pyramid-notebook-site", "development.ini", tmp_path)
    session = sys.modules["backoffice.models"].DBSession
    engine = session.get_bind()
    session.remove()
    engine.dispose()


def test_a_superuser_gets_a_shell(app: Any, control: FakeControl) -> None:
    maija = Visitor(app)
    assert maija.sign_in("maija@example.com").status_int == 302
    answer = maija.get("/admin/shell")
    assert answer.status_int == 302
    place = "http://localhost/notebook/maija%40example%2Ecom/lab/tree/default-1a2b3c4d.ipynb"
    assert answer.location == place
    assert control.last[1] == "/notebooks/maija%40example%2Ecom"

    answer = maija.get("/notebook/maija%40example%2Ecom/lab", Perijove_Question="notebook")
    assert answer.headers["Perijove-User"] == "maija%40example%2Ecom"

    assert maija.get("/notebook/shutdown").location == "http://localhost/"
    assert control.last[0] == "DELETE"


@pytest.mark.parametrize("user", ["olli", "left", None])
def test_others_get_none(user: str | None, app: Any, control: FakeControl) -> None:
    visitor = Visitor(app)
    if user:
        visitor.sign_in(user)
    for path in ("/admin/shell", "/notebook/shutdown", "/notebook/olli/lab"):
        answer = visitor.get(path, Perijove_Question="notebook")
        assert answer.status_int == 403
        assert "Perijove-User" not in answer.headers
    assert control.requests == []


def test_its_shell_has_the_application_the_models_and_the_session(
    app: Any, control: FakeControl
) -> None:
    """The script as a kernel runs it, with tables queried."""
    maija = Visitor(app)
    maija.sign_in("maija@example.com")
    maija.get("/admin/shell")
    script = control.last[2]["startup"] + (
        "\nimport json\nprint(json.dumps({"
        "'views': sum(article.views for article in session.query(Article)),"
        "'users': [user.username for user in session.query(User).order_by(User.id)],"
        "'setting': registry.settings['pyramid_notebook.kill_timeout'],"
        "'host': request.host}))\n"
    )
    done = subprocess.run(
        [sys.executable, "-W", "ignore", "-"],
        input=script,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
        env={"PYTHONPATH": ":".join(PACKAGES)},
    )
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout) == {
        "views": 385,
        "users": ["maija@example.com", "olli", "left"],
        "setting": "3600",
        "host": "localhost:80",
    }
