"""Answers: bodies of every kind, heads good and bad, failures, files."""

from __future__ import annotations

import os
from collections.abc import Callable

import pytest
from frames import Connection

Serve = Callable[[str], Connection]


@pytest.mark.parametrize(
    ("path", "body", "length"),
    [
        ("/one", "only", "4"),
        ("/several", "one two three", "13"),
        ("/none", "", "0"),
        ("/generator", "one two", None),
        ("/late-start", "late", None),
        ("/closing", "ab", None),
        ("/written", "written returned", None),
        ("/only-written", "written", None),
        ("/announced?10", "1234567890", "10"),
        ("/announced?7", "1234567", "7"),
        ("/announced?0", "", "0"),
        ("/announced-list?10", "1234567890", "10"),
        ("/announced-list?7", "1234567", "7"),
        ("/file-in-memory", "z" * 3000, None),
        ("/file-of-a-pipe", "from a pipe", None),
    ],
)
def test_bodies(serve: Serve, path: str, body: str, length: str | None) -> None:
    answer = serve("answers").fetch("GET", path)
    assert (answer.status, answer.text, answer.get("content-length")) == (200, body, length)
    assert answer.reset is None


@pytest.mark.parametrize("path", ["/one", "/several", "/generator", "/closing"])
def test_a_small_answer_is_one_frame(serve: Serve, path: str) -> None:
    connection = serve("answers")
    answers = [connection.fetch("GET", path) for _ in range(20)]
    # The clock may cut in anywhere, but not always.
    assert ["RESPONSE"] in [answer.frames for answer in answers]


@pytest.mark.parametrize(
    ("path", "status", "length"),
    [
        ("/one", 200, "4"),
        ("/generator", 200, None),
        ("/announced?10", 200, "10"),
        ("/status?204", 204, None),
        ("/file?", 200, "4096"),
    ],
)
def test_head_has_no_body(serve: Serve, path: str, status: int, length: str | None) -> None:
    answer = serve("answers").fetch("HEAD", path)
    assert (answer.status, answer.body, answer.file) == (status, b"", None)
    assert answer.get("content-length") == length
    assert answer.reset is None


@pytest.mark.parametrize("status", [204, 304])
def test_statuses_without_body(serve: Serve, status: int) -> None:
    answer = serve("answers").fetch("GET", f"/status?{status}")
    assert (answer.status, answer.body, answer.headers) == (status, b"", [])


@pytest.mark.parametrize("status", [200, 201, 301, 418, 500, 599])
def test_statuses(serve: Serve, status: int) -> None:
    answer = serve("answers").fetch("GET", f"/status?{status}")
    assert (answer.status, answer.body) == (status, b"body")


def test_headers_as_they_were_given(serve: Serve) -> None:
    answer = serve("answers").fetch("GET", "/headers")
    assert answer.headers == [
        ("Set-Cookie", "a=1"),
        ("set-cookie", "b=2"),
        ("X-Latin", "caf\xe9"),
        ("X-Spaced", "value"),
        ("Content-Length", "0"),
    ]


@pytest.mark.parametrize(
    ("case", "message"),
    [
        ("status-bytes", "TypeError: the status must be a str, not bytes"),
        ("status-short", 'ValueError: "20" is no status'),
        ("status-words", 'ValueError: "Good one" is no status'),
        ("status-interim", 'ValueError: "100 Continue" is no status'),
        ("status-line", 'ValueError: "200 OK\\r\\nX: y" is no status'),
        ("name-space", 'ValueError: "X Y" is no name of a header'),
        ("name-empty", 'ValueError: "" is no name of a header'),
        ("name-line", 'ValueError: "X\\r\\nY" is no name of a header'),
        ("name-bytes", "TypeError: name and value of a header must be str, not bytes"),
        ("value-line", "ValueError: the value of the header X has a '\\r'"),
        ("value-bytes", "TypeError: name and value of a header must be str, not bytes"),
        ("value-wide", "ValueError: the value of the header X has a '秀'"),
        ("length-word", 'ValueError: "many" is no Content-Length'),
        ("lengths", "ValueError: two headers Content-Length differ: 1 and 2"),
        ("pair", "TypeError: a header must be a tuple of two str, not tuple"),
        ("string", "TypeError: a header must be a tuple of two str, not str"),
        ("none", "TypeError: the headers must be a list, not NoneType"),
    ],
)
def test_bad_heads_are_refused_with_a_reason(serve: Serve, case: str, message: str) -> None:
    assert serve("answers").fetch("GET", f"/bad?{case}").text.startswith(message)


@pytest.mark.parametrize(
    "path",
    [
        "/raises",
        # No client could tell what is meant.
        "/status?600",
        "/status?999",
        "/exits",
        "/raises-late",
        "/text",
        "/bare-bytes",
        "/number",
        "/unstarted",
        "/twice",
    ],
)
def test_a_failure_before_the_head_is_500(serve: Serve, path: str) -> None:
    connection = serve("answers")
    answer = connection.fetch("GET", path)
    # What the client is shown is the gateway's.
    assert (answer.status, answer.get("perijove-failure"), answer.body) == (500, "exception", b"")
    assert connection.fetch("GET", "/one").text == "only"


@pytest.mark.parametrize("path", ["/raises-amid", "/recovers-too-late", "/announced?12"])
def test_a_failure_amid_the_body_cuts_it_off(serve: Serve, path: str) -> None:
    connection = serve("answers")
    answer = connection.fetch("GET", path)
    assert answer.status == 200
    assert answer.reset is not None
    assert connection.fetch("GET", "/one").text == "only"


def test_exc_info_replaces_a_head_that_is_not_sent(serve: Serve) -> None:
    answer = serve("answers").fetch("GET", "/recovers")
    assert (answer.status, answer.text) == (503, "sorry")
    assert (answer.get("x-kept"), answer.get("x-dropped")) == ("yes", None)


@pytest.mark.parametrize(
    ("path", "name"),
    [
        ("/closing", "closing"),
        ("/announced?7", "announced"),
        ("/announced?12", "announced"),
        ("/raises-late", "raises-late"),
        ("/raises-amid", "raises-amid"),
        ("/stream?2,10", "stream"),
        ("/file-closed", "file"),
    ],
)
def test_iterables_are_closed(serve: Serve, path: str, name: str) -> None:
    connection = serve("answers")
    connection.fetch("GET", "/closed")
    connection.fetch("GET", path)
    assert connection.fetch("GET", "/closed").text == name
    connection.fetch("HEAD", path)
    assert connection.fetch("GET", "/closed").text == name


def test_a_failure_of_close_harms_nothing(serve: Serve) -> None:
    answer = serve("answers").fetch("GET", "/fails-to-close")
    assert (answer.text, answer.reset) == ("whole", None)


@pytest.mark.parametrize("size", [32_512, 102_400, 262_144, 1_048_576, 5_242_880])
def test_large_answers_arrive_whole(serve: Serve, size: int) -> None:
    answer = serve("answers").fetch("GET", f"/large?{size}")
    assert answer.body == bytes(range(256)) * (size // 256)
    assert answer.get("content-length") == str(size)


@pytest.mark.parametrize(("count", "size"), [(1000, 10), (100, 40_000), (3, 1_000_000)])
def test_streams_arrive_whole(serve: Serve, count: int, size: int) -> None:
    answer = serve("answers").fetch("GET", f"/stream?{count},{size}")
    assert len(answer.body) == count * size
    assert answer.get("content-length") is None


def test_a_piece_is_sent_before_the_next_is_made(serve: Serve) -> None:
    connection = serve("answers")
    id = connection.send("GET", "/gate")
    connection.wait(id, lambda answer: answer.body == b"first")
    connection.fetch("GET", "/open-gate")
    assert connection.wait(id).body == b"firstsecond"


def test_the_body_stops_where_the_credit_ends(serve: Serve) -> None:
    connection = serve("answers")
    id = connection.send("GET", "/large?1048576")
    connection.wait(id, lambda answer: len(answer.body) == 262_144)
    assert connection.fetch("GET", "/one").text == "only"
    assert len(connection.answers[id].body) == 262_144
    connection.grant(id, 100)
    connection.wait(id, lambda answer: len(answer.body) == 262_244)
    connection.grant(id, 1 << 20)
    assert len(connection.wait(id).body) == 1_048_576


def test_a_cancelled_answer_is_given_up_and_closed(serve: Serve) -> None:
    connection = serve("answers")
    connection.fetch("GET", "/closed")
    id = connection.send("GET", "/stream?1000,100000")
    connection.wait(id, lambda answer: len(answer.body) == 262_144)
    connection.cancel(id)
    assert connection.wait(id).reset == "cancelled"
    assert connection.fetch("GET", "/closed").text == "stream"


@pytest.mark.parametrize(("path", "offset"), [("/file?", 0), ("/file?1000", 1000)])
def test_a_file_goes_by_its_descriptor(serve: Serve, path: str, offset: int) -> None:
    answer = serve("answers").fetch("GET", path)
    assert answer.frames == ["RESPONSE", "FILE"]
    assert answer.file is not None
    descriptor, start, length = answer.file
    assert (start, length) == (offset, 4096 - offset)
    assert os.pread(descriptor, 8192, start) == (bytes(range(256)) * 16)[offset:]
    assert answer.get("content-length") == str(4096 - offset)


@pytest.mark.parametrize(
    ("announced", "sent", "is_cut"), [(4096, 4096, False), (100, 100, False), (5000, 4096, True)]
)
def test_a_file_keeps_to_the_announced_length(
    serve: Serve, announced: int, sent: int, is_cut: bool
) -> None:
    answer = serve("answers").fetch("GET", f"/file-announced?{announced}")
    assert answer.file is not None
    assert answer.file[2] == sent
    assert (answer.reset is not None) == is_cut


def test_many_files_at_once_are_not_mixed_up(serve: Serve) -> None:
    connection = serve("answers")
    ids = [connection.send("GET", f"/file?{start}") for start in range(0, 64)]
    for start, id in enumerate(ids):
        file = connection.wait(id).file
        assert file is not None
        assert file[1:] == (start, 4096 - start)
        assert os.pread(file[0], 1, start) == bytes([start])


def test_what_is_kept_of_a_request_is_of_no_use_after_it(serve: Serve) -> None:
    """By then its id may be another request's."""
    connection = serve("answers")
    kept = connection.send("POST", "/keep", body=b"x" * 300_000, hold=True)
    assert connection.wait(kept).text == "kept"
    answer = connection.fetch("GET", "/use-kept")
    assert answer.text == "RuntimeError ConnectionResetError"
    assert connection.answers[kept].frames == ["RESPONSE"]
