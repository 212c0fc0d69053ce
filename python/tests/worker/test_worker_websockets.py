"""Websockets of ASGI applications, with an independent client at the other end."""

from __future__ import annotations

import os
import socket
import struct
from collections.abc import Callable, Iterator

import pytest
from frames import Connection, Websocket, Worker

Open = Callable[..., Websocket]
Serve = Callable[[str], Connection]


@pytest.fixture
def connect(serve: Serve) -> Iterator[Open]:
    """A new websocket to the worker of the views."""
    made: list[Websocket] = []
    path = serve("asgi_views").socket.getpeername()

    def connect(target: str = "/echo", *arguments: object, **others: object) -> Websocket:
        made.append(Websocket(path, target, *arguments, **others))  # type: ignore[arg-type]
        return made[-1]

    yield connect
    for websocket in made:
        websocket.leave()


@pytest.fixture
def worker(python: str) -> Iterator[Worker]:
    """A worker of its own, whose output is looked at."""
    with Worker("asgi_views:application", python=python) as worker:
        worker.connect().wait_ready()
        yield worker


def test_a_handshake_is_accepted(connect: Open) -> None:
    headers = [("sec-websocket-protocol", "a, b"), ("sec-websocket-protocol", "c")]
    websocket = connect("/echo", headers)
    answer = websocket.answer()
    assert (answer.status, answer.get("sec-websocket-protocol")) == (101, "c")
    assert answer.get("x-offered") == "3"
    assert websocket.is_entered


@pytest.mark.parametrize(
    "message",
    ["", "hello", "käse", b"", b"\0\xff", "x" * 125, "x" * 126, b"x" * 65_535, b"x" * 65_536],
    ids=len,
)
def test_messages_go_both_ways(connect: Open, message: str | bytes) -> None:
    websocket = connect().accepted()
    for _ in range(3):
        websocket.send(message)
        assert websocket.receive() == message


def test_large_messages_go_both_ways(connect: Open) -> None:
    websocket = connect().accepted()
    message = os.urandom(4 << 20)
    websocket.send(message)
    assert websocket.receive() == message


def test_many_messages_at_once_keep_their_order(connect: Open) -> None:
    websocket = connect().accepted()
    for number in range(500):
        websocket.send(str(number))
    assert [websocket.receive() for _ in range(500)] == [str(number) for number in range(500)]


def test_fragments_are_put_together(connect: Open) -> None:
    websocket = connect().accepted()
    websocket.protocol.send_text(b"one ", fin=False)
    websocket.protocol.send_ping(b"amid")
    websocket.protocol.send_continuation(b"two", fin=True)
    websocket.flush()
    pong = websocket.next()
    assert (pong.opcode, bytes(pong.data)) == (0xA, b"amid")
    assert websocket.receive() == "one two"


def test_the_scope_of_a_websocket(connect: Open) -> None:
    headers = [("host", "example.org"), ("sec-websocket-protocol", "a")]
    websocket = connect("/ws-scope?a=1", headers, https=True).accepted()
    import json

    assert json.loads(websocket.receive()) == {
        "type": "websocket",
        "asgi": {"version": "3.0", "spec_version": "2.5"},
        "http_version": "1.1",
        "scheme": "wss",
        "path": "/ws-scope",
        "raw_path": "/ws-scope",
        "query_string": "a=1",
        "root_path": "",
        "headers": [["host", "example.org"], ["sec-websocket-protocol", "a"]],
        "client": ["203.0.113.7", 50000],
        "server": ["example.org", 8000],
        "subprotocols": ["a"],
        "state": {"greeting": "hello"},
        "extensions": {"websocket.http.response": {}},
    }


@pytest.mark.parametrize(
    ("target", "status", "body"),
    [
        ("/refuse", 403, b""),
        ("/deny", 401, b"who are you?"),
    ],
)
def test_handshakes_are_refused(connect: Open, target: str, status: int, body: bytes) -> None:
    websocket = connect(target)
    answer = websocket.answer()
    assert (answer.status, answer.body) == (status, body)
    assert answer.get("www-authenticate") == ("Basic" if status == 401 else None)
    websocket.ended()


@pytest.mark.parametrize("target", ["/ws-raise-early", "/ws-nothing"])
def test_failures_before_the_handshake_are_answers(connect: Open, target: str) -> None:
    answer = connect(target).answer()
    assert (answer.status, b"Internal error" in answer.body) == (500, True)
    # So that the gateway shows the site's own page instead.
    assert answer.get("perijove-failure") == "exception"


@pytest.mark.parametrize(
    ("target", "close"),
    [
        ("/close?1000,", (1000, "")),
        ("/close?4001,because", (4001, "because")),
        ("/close?1013,%s" % ("x" * 200), (1013, "x" * 123)),
        ("/return", (1000, "")),
        ("/ws-raise", (1011, "the application failed")),
    ],
)
def test_the_application_closes(connect: Open, target: str, close: tuple[int, str]) -> None:
    websocket = connect(target).accepted()
    assert websocket.closed() == close
    websocket.ended()


def test_the_client_closes(worker: Worker) -> None:
    for code, reason, told in [
        (1000, "", "closed 1000 "),
        (4321, "käse", "closed 4321 käse"),
        (None, "", "closed 1005 "),
    ]:
        websocket = worker.websocket().accepted()
        websocket.close(code, reason)
        assert websocket.closed()[0] == (code or 1005)
        websocket.ended()
        worker.wait_for_output(told)
    websocket = worker.websocket().accepted()
    websocket.leave()
    worker.wait_for_output("closed 1006 ")
    worker.wait_for_output("late: BrokenPipeError")
    assert "Traceback" not in worker.output()


def test_a_client_that_leaves_before_the_answer(worker: Worker) -> None:
    websocket = worker.websocket("/ws-wait")
    worker.wait_for_output("connecting")
    websocket.leave()
    worker.wait_for_output("left 1006")


def test_who_accepts_too_late_has_done_nothing_wrong(worker: Worker) -> None:
    websocket = worker.websocket("/ws-slow-to-accept")
    worker.wait_for_output("connecting")
    websocket.leave()
    worker.websocket("/return").accepted().closed()
    worker.terminate()
    assert worker.wait() == 0
    assert "Traceback" not in worker.output()


@pytest.mark.parametrize(
    ("sent", "code"),
    [
        (b"\x81\x01a", 1002),
        (b"\xc1\x80\0\0\0\0", 1002),
        (b"\x83\x80\0\0\0\0", 1002),
        (b"\x80\x80\0\0\0\0", 1002),
        (b"\x81\x81\0\0\0\0\xff", 1007),
        (b"\x82\xff" + struct.pack(">Q", (16 << 20) + 1) + b"\0\0\0\0", 1009),
    ],
)
def test_clients_that_break_the_rules_are_told(connect: Open, sent: bytes, code: int) -> None:
    websocket = connect().accepted()
    websocket.socket.sendall(sent)
    assert websocket.closed()[0] == code


def test_a_message_beyond_the_limit_closes(python: str) -> None:
    with Worker("asgi_views:application", python=python, websocket_message=1000) as worker:
        websocket = worker.websocket().accepted()
        websocket.send(b"x" * 1000)
        assert websocket.receive() == b"x" * 1000
        websocket.send(b"x" * 1001)
        assert websocket.closed() == (1009, "the message is too long")
        worker.wait_for_output("closed 1009")


ACCEPT = "{'type': 'websocket.accept'}"


@pytest.mark.parametrize(
    ("events", "message"),
    [
        (
            "[{'type': 'websocket.send', 'text': 'a'}]",
            "RuntimeError: 'websocket.send' before 'websocket.accept'",
        ),
        (
            f"[{ACCEPT}, {ACCEPT}]",
            "RuntimeError: the websocket was accepted or refused before",
        ),
        (
            f"[{ACCEPT}, {{'type': 'websocket.send'}}]",
            "ValueError: 'websocket.send' has neither 'text' nor 'bytes'",
        ),
        (
            f"[{ACCEPT}, {{'type': 'websocket.send', 'text': b'a'}}]",
            "TypeError: 'text' is a str, not bytes",
        ),
        (
            f"[{ACCEPT}, {{'type': 'websocket.send', 'bytes': 'a'}}]",
            "TypeError: 'bytes' is bytes, not str",
        ),
        (
            f"[{ACCEPT}, {{'type': 'http.response.body'}}]",
            'ValueError: an event of type "http.response.body" cannot be sent here',
        ),
        (
            f"[{ACCEPT}, {{'type': 'websocket.close', 'code': 1005}}]",
            "ValueError: 1005 is no code that a websocket can be closed with",
        ),
        (
            "[{'type': 'websocket.http.response.body'}]",
            "RuntimeError: 'websocket.http.response.body' without 'websocket.http.response.start'",
        ),
    ],
)
def test_wrong_events_are_told(connect: Open, events: str, message: str) -> None:
    assert connect(f"/ws-wrong?{events}").accepted().receive() == message


def test_who_does_not_read_is_not_sent_more(worker: Worker) -> None:
    websocket = worker.websocket("/ws-flood")
    websocket.socket.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 1 << 16)
    websocket.accepted()
    worker.wait_for_output("flooded 0")
    # Others are served meanwhile; 10 MB are more than any socket's buffer.
    assert worker.connect().fetch("GET", "/unread").text == "unread"
    assert "flooded 999" not in worker.output()
    for number in range(1000):
        assert websocket.receive() == bytes([number % 256]) * 10_000
    worker.wait_for_output("flooded 999")


def send_until_stuck(websocket: Websocket, message: bytes) -> tuple[int, bytes]:
    """Sends messages until nothing more is taken: how many were, and the rest of the next."""
    websocket.socket.settimeout(0.5)
    for sent in range(200):
        websocket.protocol.send_binary(message)
        rest = memoryview(b"".join(websocket.protocol.data_to_send()))
        try:
            while rest:
                rest = rest[websocket.socket.send(rest) :]
        except TimeoutError:
            websocket.socket.settimeout(30)
            return sent, bytes(rest)
    raise AssertionError("everything was taken")


def test_an_application_that_does_not_read_stops_the_client(worker: Worker) -> None:
    websocket = worker.websocket("/ws-slow").accepted()
    sent, rest = send_until_stuck(websocket, b"x" * 100_000)
    # What comes is read up to a limit; then the socket's buffers fill.
    assert 5 < sent < 100
    assert worker.connect().fetch("GET", "/release?go").text == "released"
    websocket.socket.sendall(rest)
    websocket.send("count")
    assert websocket.receive() == str(sent + 1)


def test_draining_tells_why(worker: Worker) -> None:
    websocket = worker.websocket().accepted()
    worker.terminate()
    assert websocket.closed() == (1012, "the server restarts")
    worker.wait_for_output("closed 1012")
    assert worker.wait() == 0


def test_strangers_are_shown_the_door(worker: Worker) -> None:
    with pytest.raises(EOFError):
        worker.websocket(secret="wrong").answer()
    worker.wait_for_output("its secret is wrong")


def test_a_wsgi_worker_takes_no_websocket(python: str) -> None:
    with Worker("hello:application", python=python) as worker:
        worker.connect().wait_ready()
        with pytest.raises(EOFError):
            worker.websocket().answer()
