"""Long pieces of bodies change hands on the shelf, and what becomes of the trays."""

from __future__ import annotations

import hashlib
from collections.abc import Callable

import pytest
from frames import CLAIMS, TRAY_SIZE, TRAYS, Connection

Serve = Callable[..., Connection]


def example(length: int) -> bytes:
    return (b"0123456789abcdef" * (length // 16 + 1))[:length]


def wait_for_trays(connection: Connection, taken: int) -> None:
    """Until so many trays are taken; the worker frees them when it has done with what they hold."""
    while sum(connection.trays()) != taken:
        assert connection.fetch("GET", "/unread").status == 200


@pytest.mark.parametrize("chunked", [False, True])
@pytest.mark.parametrize("length", [1, 102_400, TRAY_SIZE, TRAY_SIZE + 1, 1_000_000])
def test_a_body_arrives_whole(serve: Serve, length: int, chunked: bool) -> None:
    connection = serve("bodies", shelf=True)
    body = example(length)
    for path in ("/all", "/blocks?1000", "/elsewhere"):
        answer = connection.fetch("POST", path, body=body, chunked=chunked)
        assert answer.json[:2] == [length, hashlib.sha256(body).hexdigest()], path
    wait_for_trays(connection, 0)


@pytest.mark.parametrize("length", [32_512, 32_768, 102_400, TRAY_SIZE, 1_000_192])
def test_an_answer_arrives_whole(serve: Serve, length: int) -> None:
    connection = serve("answers", shelf=True)
    answer = connection.fetch("GET", f"/large?{length}")
    assert answer.body == serve("answers").fetch("GET", f"/large?{length}").body
    assert len(answer.body) == length
    assert ("TRAY" in answer.frames) == (length >= 32_768)
    assert "BODY" not in answer.frames
    assert not any(connection.trays())


def test_without_a_free_tray_bodies_go_through_the_socket(serve: Serve) -> None:
    connection = serve("answers", shelf=True)
    connection.claims[CLAIMS : CLAIMS + TRAYS] = b"\1" * TRAYS
    answer = connection.fetch("GET", "/large?300032")
    assert (len(answer.body), "TRAY" in answer.frames) == (300_032, False)
    connection.claims[CLAIMS + 5] = 0
    answer = connection.fetch("GET", "/large?102400")
    assert (len(answer.body), answer.frames) == (102_400, ["RESPONSE", "TRAY"])


def test_credit_holds_for_trays_too(serve: Serve) -> None:
    connection = serve("answers", shelf=True)
    id = connection.send("GET", "/large?1000192")
    answer = connection.wait(id, lambda answer: len(answer.body) == 262_144)
    other = connection.fetch("GET", "/one")
    assert (other.status, len(answer.body)) == (200, 262_144)
    connection.grant(id, 1_000_000)
    assert len(connection.wait(id).body) == 1_000_192


def test_what_nobody_reads_leaves_no_tray_taken(serve: Serve) -> None:
    connection = serve("bodies", shelf=True)
    body = example(100_000)
    assert connection.fetch("POST", "/unread", body=body).json == "unread"
    wait_for_trays(connection, 0)


def test_a_tray_for_a_request_that_is_over_is_freed(serve: Serve) -> None:
    connection = serve("bodies", shelf=True)
    id = connection.send("POST", "/unread", body=example(1_000_000), hold=True)
    connection.wait(id)
    connection.send_tray(id, b"late")
    connection.send_tray(4000, b"of a request that never was")
    wait_for_trays(connection, 0)


def test_a_body_cut_off_amid_its_trays(serve: Serve) -> None:
    connection = serve("bodies", shelf=True)
    id = connection.send("POST", "/all", body=example(500_000), hold=True)
    connection.wait(id, lambda answer: answer.credit)
    connection.send_tray(id, example(100_000))
    connection.cancel(id)
    assert connection.wait(id).reset is not None
    wait_for_trays(connection, 0)


@pytest.mark.parametrize("tray", [(TRAYS, 1), (0, TRAY_SIZE + 1), (3, 1)])
def test_a_tray_that_cannot_be_ends_the_connection(serve: Serve, tray: tuple[int, int]) -> None:
    connection = serve("bodies", shelf=True)
    connection.wait_ready()
    number, length = tray
    connection.socket.sendall(
        bytes([8, 0, 0, 0, 6, 0, 0, 0, 1, 0, 0, 0])
        + number.to_bytes(4, "little")
        + length.to_bytes(4, "little")
    )
    with pytest.raises((EOFError, ConnectionError)):
        connection.wait(connection.send("GET", "/unread"))


@pytest.mark.parametrize("shelf", [False, True])
def test_nothing_follows_the_end_however_late_it_is_written(serve: Serve, shelf: bool) -> None:
    connection = serve("answers", shelf=shelf)
    for _ in range(50):
        assert connection.fetch("GET", "/written-beside").status == 200
