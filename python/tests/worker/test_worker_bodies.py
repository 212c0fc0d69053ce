"""The body of a request, as an application reads it."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable

import pytest
from frames import FIRST_BODY, Connection, Worker

Serve = Callable[[str], Connection]


def example(length: int) -> bytes:
    return (b"0123456789abcdef" * (length // 16 + 1))[:length]


@pytest.mark.parametrize("chunked", [False, True])
@pytest.mark.parametrize("length", [0, 1, 65_536, 65_537, 102_400, 1_000_000, 5_000_000])
@pytest.mark.parametrize("path", ["/all", "/blocks?1000", "/blocks?100000", "/elsewhere"])
def test_it_arrives_whole(serve: Serve, path: str, length: int, chunked: bool) -> None:
    body = example(length)
    answer = serve("bodies").fetch("POST", path, body=body, chunked=chunked)
    assert answer.json[:2] == [length, hashlib.sha256(body).hexdigest()]
    if path.startswith("/blocks"):
        assert answer.json[2] == min(length, int(path.partition("?")[2]))


@pytest.mark.parametrize("path", ["/lines", "/iterated"])
@pytest.mark.parametrize(
    "lines", [[], ["a\n"], ["a\n", "\n", "b"], ["x" * 100_000 + "\n", "y" * 70_000]]
)
def test_lines(serve: Serve, path: str, lines: list[str]) -> None:
    body = "".join(lines).encode()
    assert serve("bodies").fetch("POST", path, body=body).json == lines


def test_reads_of_every_kind_go_on_where_the_last_one_ended(serve: Serve) -> None:
    body = b"12345\nabcd\nef\ngh\ni\nj"
    expected = ["123", "45\n", "", "ab", ["cd\n", "ef\n"], ["gh\n", "i\n", "j"], "", ""]
    assert serve("bodies").fetch("POST", "/mixed", body=body).json == expected


def test_nothing_is_asked_for_that_is_not_read(serve: Serve) -> None:
    connection = serve("bodies")
    id = connection.send("POST", "/first", body=example(1_000_000))
    answer = connection.wait(id)
    assert (answer.json, answer.credit) == ("0123456789", 0)
    connection.cancel(id)
    assert connection.fetch("POST", "/unread", body=b"x", id=id).json == "unread"


def test_a_client_that_expects_100_is_asked_when_the_application_reads(serve: Serve) -> None:
    connection = serve("bodies")
    headers = [("expect", "100-continue")]
    id = connection.send("POST", "/unread", headers, body=b"x" * 1000, hold=True)
    assert connection.wait(id).credit == 0
    id = connection.send("POST", "/all", headers, body=b"x" * 1000, hold=True)
    assert connection.wait(id, lambda answer: answer.credit).credit == 1000
    connection.send_body(id, b"x" * 1000, end=True)
    assert connection.wait(id).json[0] == 1000


def test_no_more_is_asked_for_than_is_to_come(serve: Serve) -> None:
    length = FIRST_BODY + 1_000_000
    answer = serve("bodies").fetch("POST", "/blocks?5000", body=example(length))
    assert answer.json[0] == length
    assert answer.credit == length - FIRST_BODY


@pytest.mark.parametrize("chunked", [False, True])
def test_a_body_that_is_cut_off_is_an_error(serve: Serve, chunked: bool) -> None:
    connection = serve("bodies")
    id = connection.send("POST", "/all", body=example(1_000_000), chunked=chunked)
    connection.wait(id, lambda answer: answer.credit)
    connection.cancel(id)
    assert connection.wait(id).reset == "cancelled"
    assert connection.fetch("POST", "/unread", body=b"").json == "unread"


def test_a_body_that_ends_before_its_length_is_cut_off(serve: Serve) -> None:
    connection = serve("bodies")
    id = connection.send("POST", "/tolerant", body=example(1_000_000))
    connection.wait(id, lambda answer: answer.credit)
    connection.send_body(id, b"short", end=True)
    assert connection.wait(id).is_ended


def test_bodies_stream_both_ways(serve: Serve) -> None:
    body = example(3_000_000)
    answer = serve("bodies").fetch("POST", "/echo", body=body, chunked=True)
    assert answer.body == body


def test_many_uploads_at_once(serve: Serve) -> None:
    connection = serve("bodies")
    body = example(102_400)
    ids = [connection.send("POST", "/all", body=body) for _ in range(32)]
    for id in ids:
        connection.wait(id, lambda answer: answer.credit or answer.is_ended)
        connection.send_body(id, body[FIRST_BODY:], end=True)
    for id in ids:
        assert connection.wait(id).json == [102_400, hashlib.sha256(body).hexdigest()]


@pytest.mark.parametrize("path", ["/all", "/elsewhere", "/echo"])
def test_a_worker_with_one_thread_reads_while_it_waits(path: str) -> None:
    body = example(1_000_000)
    with Worker("bodies:application", threads=1) as worker:
        answer = worker.connect().fetch("POST", path, body=body, chunked=True)
    shown = json.dumps([len(body), hashlib.sha256(body).hexdigest()]).encode()
    assert answer.body == (body if path == "/echo" else shown)
