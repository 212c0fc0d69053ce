"""The client of the control socket: what it sends, what it reads, what its errors say."""

from __future__ import annotations

import os
import socket
import threading
import time
from pathlib import Path
from typing import Any

import pytest
from fake_control import FakeControl
from perijove.control import (
    Control,
    Launch,
    NotServed,
    Refused,
    Unreachable,
    canonical,
)


def test_a_launch_sends_the_context_and_reads_the_address(control: FakeControl) -> None:
    launch = Control().launch("ada", {"startup": "a = 1\n"}, settings={"folder": "/srv/nb"})
    assert launch == Launch("/notebook/ada/lab/tree/default-1a2b3c4d.ipynb", "starting", True)
    assert control.last == (
        "POST",
        "/notebooks/ada",
        {"startup": "a = 1\n", "when-busy": "replace", "settings": {"folder": "/srv/nb"}},
    )


def test_a_further_notebook_has_a_name(control: FakeControl) -> None:
    Control().launch("ada", None, "two b", when_busy="ask")
    assert control.last == ("POST", "/notebooks/ada/two%20b", {"when-busy": "ask"})


@pytest.mark.parametrize(
    ("user", "expected"),
    [
        ("ada", "ada"),
        ("Ada-1_~", "Ada-1_~"),
        ("ada@example.com", "ada%40example%2Ecom"),
        ("../../evil", "%2E%2E%2F%2E%2E%2Fevil"),
        ("..", "%2E%2E"),
        ("a/b", "a%2Fb"),
        ("秀樹", "%E7%A7%80%E6%A8%B9"),
        ("a b%", "a%20b%25"),
    ],
)
def test_names_have_one_spelling(user: str, expected: str, control: FakeControl) -> None:
    assert canonical(user) == expected
    Control().stop(user)
    assert control.last == ("DELETE", f"/notebooks/{expected}", None)


@pytest.mark.parametrize("user", ["", None, 7, "\ud800"])
def test_what_is_no_name_is_told_before_anything_is_sent(user: Any, control: FakeControl) -> None:
    with pytest.raises(ValueError):
        Control().launch(user)
    assert control.requests == []


@pytest.mark.parametrize("context", [{"settings": {}}, {"when-busy": "ask"}, {"x": object()}])
def test_a_context_is_plain_data_without_our_words(context: Any, control: FakeControl) -> None:
    with pytest.raises(ValueError, match="context"):
        Control().launch("ada", context)
    assert control.requests == []


def test_status_list_and_stop(control: FakeControl) -> None:
    entry = {
        "user": "ada",
        "name": "",
        "state": "ready",
        "url": "/notebook/ada/",
        "started": 1.5,
        "pid": 42,
        "folder": "/srv/nb/ada",
        "kill_at": None,
        "context_hash": "1a2b3c4d",
        "last_lines": [],
        "of-a-newer-version": True,
    }
    control.answer = lambda method, path, _: (200, [entry] if path == "/notebooks" else entry)
    seen = Control().status("ada")
    assert seen is not None
    assert (seen.user, seen.state, seen.pid) == ("ada", "ready", 42)
    assert Control().list() == [seen]
    assert Control().stop("ada") is True

    control.answer = lambda *_: (404, {"error": "no notebook", "hint": "launch one"})
    assert Control().status("ada") is None
    assert Control().stop("ada") is False


def test_a_refusal_carries_status_reason_and_hint(control: FakeControl) -> None:
    control.answer = lambda *_: (503, {"error": "10 notebooks run", "hint": "stop one"})
    with pytest.raises(Refused) as refusal:
        Control().launch("ada")
    assert refusal.value.status == 503
    assert str(refusal.value) == "10 notebooks run; hint: stop one"


@pytest.mark.parametrize(
    ("status", "answer", "error"),
    [
        (500, b"<html>", Refused),
        (200, b"<html>", Unreachable),
        (200, b"[1]", Unreachable),
        (200, b'{"state": "ready"}', Unreachable),
    ],
)
def test_what_is_no_answer_of_perijove_is_an_error(
    status: int, answer: bytes, error: type[Exception], control: FakeControl
) -> None:
    control.answer = lambda *_: (status, answer)
    with pytest.raises(error, match="hint: "):
        Control().launch("ada")


def test_outside_perijove_the_error_says_how_to_start(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("PERIJOVE_CONTROL", raising=False)
    with pytest.raises(NotServed, match="perijove serve"):
        Control()


def test_a_missing_secret_is_told(control: FakeControl) -> None:
    os.unlink(f"{control.path}.secret")
    with pytest.raises(Unreachable, match="no secret of the control socket"):
        Control().launch("ada")


def test_an_unreadable_secret_is_told(control: FakeControl) -> None:
    # A folder in its place, since root may read every file.
    secret = Path(f"{control.path}.secret")
    secret.unlink()
    secret.mkdir()
    with pytest.raises(NotServed, match="cannot read the control socket's secret"):
        Control().launch("ada")
    secret.rmdir()


@pytest.mark.parametrize("text", ["", "abc\r\nX: y", "é"])
def test_a_secret_never_breaks_out_of_its_header(text: str, control: FakeControl) -> None:
    Path(f"{control.path}.secret").write_bytes(text.encode("latin-1"))
    with pytest.raises(NotServed, match="secret"):
        Control().launch("ada")
    assert control.requests == []


def test_a_wrong_secret_is_refused(control: FakeControl) -> None:
    Path(f"{control.path}.secret").write_text("beef")
    with pytest.raises(Refused) as refusal:
        Control().launch("ada")
    assert refusal.value.status == 401
    assert "beef" not in str(refusal.value)


def test_perijove_away_is_told(control: FakeControl) -> None:
    os.unlink(control.path)
    with pytest.raises(Unreachable, match="is `perijove serve` running"):
        Control().launch("ada")


def test_an_answer_that_drips_ends_at_the_deadline(tmp_path: Path) -> None:
    """Each byte comes in time, the whole does not: the deadline is for the whole."""
    path = str(tmp_path / "s")
    Path(f"{path}.secret").write_text("00ff")
    done = threading.Event()
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(path)
        listener.listen()

        def drip() -> None:
            stream, _ = listener.accept()
            with stream:
                while not done.wait(0.02):
                    try:
                        stream.send(b"H")
                    except OSError:
                        return

        thread = threading.Thread(target=drip)
        thread.start()
        begun = time.monotonic()
        with pytest.raises(Unreachable, match="did not answer"):
            Control(path, timeout=0.3).launch("ada")
        assert time.monotonic() - begun < 5
        done.set()
        thread.join()
