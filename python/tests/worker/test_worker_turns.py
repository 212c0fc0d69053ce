"""Threads take turns: a stuck view delays nobody; claims, recalls, cancels."""

from __future__ import annotations

import select
from collections.abc import Iterator

import pytest
from frames import Connection, Worker


@pytest.fixture
def worker(python: str) -> Iterator[Worker]:
    with Worker("turns:application", python=python) as worker:
        yield worker


def hold(connection: Connection, count: int, path: str = "/stuck") -> list[int]:
    """Sends requests that hold a thread each, and waits until they are inside."""
    ids = [connection.send("GET", path) for _ in range(count)]
    while sum(connection.claims[id] for id in ids) < count:
        pass
    return ids


@pytest.mark.parametrize("path", ["/stuck", "/spinning"])
def test_stuck_views_delay_nobody(worker: Worker, path: str) -> None:
    connection = worker.connect()
    held = hold(connection, 3, path)
    assert connection.fetch("GET", "/await-inside?3").text == "inside"
    quick = [connection.send("GET", f"/quick?{number}") for number in range(100)]
    assert all(connection.wait(id).status == 200 for id in quick)
    assert not any(connection.answers[id].is_ended for id in held)
    connection.fetch("GET", "/let-go")
    assert [connection.wait(id).text for id in held] == ["let go"] * 3


def test_stuck_views_of_one_connection_delay_no_other(worker: Worker) -> None:
    held = hold(worker.connect(), 3)
    assert len(held) == 3
    other = worker.connect()
    assert [other.fetch("GET", "/quick").status for _ in range(20)] == [200] * 20
    other.fetch("GET", "/let-go")


def test_what_waits_behind_stuck_views_comes_afterwards(worker: Worker) -> None:
    connection = worker.connect()
    slow = [connection.send("GET", "/seconds?0.3") for _ in range(4)]
    waiting = [connection.send("GET", f"/quick?{number}") for number in range(50)]
    assert [connection.wait(id).status for id in slow + waiting] == [200] * 54


def test_quick_requests_stay_in_order_on_one_thread(worker: Worker) -> None:
    connection = worker.connect()
    connection.fetch("GET", "/quick?warm")
    ids = [connection.send("GET", f"/quick?{number}") for number in range(200)]
    threads = [connection.wait(id).text for id in ids]
    order = connection.fetch("GET", "/entered").text.split(",")[1:]
    # A busy machine may hand the lead over now and then.
    assert max(map(threads.count, threads)) > 20
    assert sorted(map(int, order)) == list(range(200))


def test_a_request_is_claimed_before_the_application_is_entered(worker: Worker) -> None:
    connection = worker.connect()
    id = connection.send("GET", "/stuck")
    connection.fetch("GET", "/await-inside?1")
    assert connection.claims[id] == 1
    connection.fetch("GET", "/let-go")
    connection.wait(id)


def test_a_request_that_was_called_back_is_not_entered(worker: Worker) -> None:
    connection = worker.connect()
    slow = [connection.send("GET", "/seconds?0.2") for _ in range(4)]
    while sum(connection.claims[id] for id in slow) < 4:
        pass
    waiting = [connection.send("GET", f"/quick?{number}") for number in range(10)]
    back = waiting[3:6]
    for id in back:
        connection.claims[id] = 2
        connection.cancel(id)
    answers = [connection.wait(id) for id in waiting]
    assert [answer.reset for answer in answers[3:6]] == ["called back"] * 3
    assert [answer.status for answer in answers[:3] + answers[6:]] == [200] * 7
    entered = connection.fetch("GET", "/entered").text.split(",")
    assert sorted(entered) == [str(number) for number in (0, 1, 2, 6, 7, 8, 9)]


def test_an_id_is_used_again(worker: Worker) -> None:
    connection = worker.connect()
    for number in range(50):
        assert connection.fetch("GET", f"/quick?{number}", id=7).status == 200


def test_cancels_that_come_too_late_mean_nothing(worker: Worker) -> None:
    connection = worker.connect()
    id = connection.send("GET", "/quick")
    connection.wait(id)
    connection.cancel(id)
    connection.cancel(99)
    assert connection.fetch("GET", "/quick").status == 200


def test_a_connection_that_ends_takes_only_its_own_requests_along(worker: Worker) -> None:
    gone, stays = worker.connect(), worker.connect()
    gone.send("GET", "/stuck")
    held = stays.send("GET", "/stuck")
    stays.fetch("GET", "/await-inside?2")
    gone.close()
    worker.connections.remove(gone)
    assert stays.fetch("GET", "/quick").status == 200
    stays.fetch("GET", "/let-go")
    assert stays.wait(held).text == "let go"


def test_the_greeting_is_answered_with_the_number_of_threads(python: str) -> None:
    with Worker("turns:application", python=python, threads=7) as worker:
        assert worker.connect().wait_ready() == (1, 7)


def test_one_thread_is_enough(python: str) -> None:
    with Worker("turns:application", python=python, threads=1) as worker:
        connection = worker.connect()
        ids = [connection.send("GET", "/seconds?0.01") for _ in range(5)]
        assert [connection.wait(id).text for id in ids] == ["slept"] * 5


@pytest.mark.parametrize("secret", ["", "wrong", "5ec2e7" * 4 + "0"])
def test_a_wrong_secret_is_shut_out(worker: Worker, secret: str) -> None:
    connection = worker.connect(secret)
    with pytest.raises((EOFError, ConnectionResetError)):
        connection.wait_ready()
    assert "its secret is wrong" in worker.wait_for_output("secret")
    assert worker.connect().fetch("GET", "/quick").status == 200


def test_bytes_that_are_no_frames_end_the_connection(worker: Worker) -> None:
    connection = worker.connect()
    connection.wait_ready()
    connection.socket.sendall(b"GET / HTTP/1.1\r\nHost: x\r\n\r\n")
    with pytest.raises((EOFError, ConnectionResetError)):
        connection.read()
    assert worker.connect().fetch("GET", "/quick").status == 200


def test_a_gateway_is_greeted_while_all_threads_are_inside(worker: Worker) -> None:
    connection = worker.connect()
    connection.wait_ready()
    held = [connection.send("GET", "/seconds?3") for _ in range(4)]
    while sum(connection.claims[id] for id in held) < 4:
        pass
    other = worker.connect()
    other.wait_ready()
    assert not select.select([connection.socket], [], [], 0)[0], "they were still inside"
    assert other.fetch("GET", "/quick").status == 200
    assert [connection.wait(id).status for id in held] == [200] * 4
