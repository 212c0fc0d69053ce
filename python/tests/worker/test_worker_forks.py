"""What an application's forked processes have, and have not, of the worker."""

from __future__ import annotations

import os
import signal
from collections.abc import Iterator

import pytest
from frames import Worker


@pytest.fixture
def worker(python: str) -> Iterator[Worker]:
    with Worker("forks:application", python=python) as worker:
        yield worker


def test_a_child_holds_no_connection_open(worker: Worker) -> None:
    connection = worker.connect()
    child = int(connection.fetch("GET", "/left-behind").text)
    try:
        worker.process.kill()
        with pytest.raises((EOFError, ConnectionError)):
            connection.wait(connection.send("GET", "/left-behind"))
        os.kill(child, 0)
    finally:
        os.kill(child, signal.SIGKILL)


def test_a_child_that_comes_back_answers_nothing_and_ends(worker: Worker) -> None:
    connection = worker.connect()
    assert connection.fetch("GET", "/comes-back").text == "parent 0"
    assert connection.fetch("GET", "/comes-back").text == "parent 0"


def test_what_a_child_lets_go_is_still_the_parents(worker: Worker) -> None:
    connection = worker.connect(shelf=True)
    assert connection.fetch("POST", "/with-body", body=b"x" * 100_000).text == "100000"
