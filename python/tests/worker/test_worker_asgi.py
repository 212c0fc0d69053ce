"""ASGI applications over HTTP: scope, bodies both ways, errors, disconnection, lifespan."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Callable
from pathlib import Path
from urllib.parse import quote

import pytest
from frames import FIRST_BODY, Connection, Worker

Serve = Callable[..., Connection]


@pytest.fixture
def asgi(serve: Serve) -> Connection:
    return serve("asgi_views")


def test_the_gateway_is_told_that_it_is_asgi(asgi: Connection) -> None:
    assert asgi.wait_ready() == (1, 1000)
    assert asgi.is_asgi


def test_a_scope_has_all_that_is_known(asgi: Connection) -> None:
    headers = [("host", "example.org"), ("x-a", "1"), ("x-a", b"\xe9"), ("proxy", "evil")]
    scope = asgi.fetch(
        "POST", "/scope?a=%20b", headers, body=b"", version=2, https=True, request_id="r-1"
    ).json
    assert scope == {
        "type": "http",
        "asgi": {"version": "3.0", "spec_version": "2.5"},
        "http_version": "2",
        "method": "POST",
        "scheme": "https",
        "path": "/scope",
        "raw_path": "/scope",
        "query_string": "a=%20b",
        "root_path": "",
        "headers": [
            ["host", "example.org"],
            ["x-a", "1"],
            ["x-a", "\xe9"],
            ["content-length", "0"],
        ],
        "client": ["203.0.113.7", 50000],
        "server": ["example.org", 8000],
        "state": {"greeting": "hello"},
        "extensions": {"http.response.pathsend": {}},
    }


def test_scopes_of_plain_requests(asgi: Connection) -> None:
    scope = asgi.fetch("GET", "/scope", version=0, client=("", "")).json
    assert (scope["http_version"], scope["scheme"], scope["client"]) == ("1.0", "http", None)
    path = "/scope/ä b"
    scope = asgi.fetch("GET", quote(path) + "?%20").json
    assert (scope["path"], scope["raw_path"]) == (path, quote(path))
    assert scope["query_string"] == "%20"
    scope = asgi.fetch("GET", "/mount/scope", mount="/mount").json
    assert (scope["path"], scope["root_path"]) == ("/mount/scope", "/mount")


def test_each_request_has_a_state_of_its_own(asgi: Connection) -> None:
    for _ in range(2):
        assert asgi.fetch("GET", "/state").json == {"greeting": "hello"}


@pytest.mark.parametrize("chunked", [False, True])
@pytest.mark.parametrize("length", [0, 1, 65_536, 65_537, 300_000, 3_000_000])
def test_a_body_arrives_whole(asgi: Connection, length: int, chunked: bool) -> None:
    body = os.urandom(length)
    answer = asgi.fetch("POST", "/all", body=body, chunked=chunked)
    assert answer.json == [length, hashlib.sha256(body).hexdigest()]


@pytest.mark.parametrize("length", [1, 102_400, 131_073, 1_000_000])
def test_bodies_change_hands_on_the_shelf(serve: Serve, length: int) -> None:
    connection = serve("asgi_views", shelf=True)
    body = os.urandom(length)
    answer = connection.fetch("POST", "/all", body=body)
    assert answer.json == [length, hashlib.sha256(body).hexdigest()]
    answer = connection.fetch("GET", f"/large?{length}")
    assert (answer.body, "TRAY" in answer.frames) == (b"x" * length, length >= 32_768)
    while any(connection.trays()):
        assert connection.fetch("GET", "/unread").status == 200


def test_a_long_body_is_not_asked_for_before_the_application_does(asgi: Connection) -> None:
    id = asgi.send("POST", "/unread", body=b"x" * 1_000_000)
    assert asgi.wait(id).credit == 0
    asgi.cancel(id)
    headers = [("expect", "100-continue")]
    assert asgi.wait(asgi.send("POST", "/unread", headers, body=b"x" * 9, hold=True)).credit == 0
    id = asgi.send("POST", "/all", headers, body=b"x" * 9, hold=True)
    assert asgi.wait(id, lambda answer: answer.credit).credit == 9


@pytest.mark.parametrize("length", [0, 13, 32_768, 102_400, 262_144, 5_000_000])
def test_an_answer_arrives_whole(asgi: Connection, length: int) -> None:
    answer = asgi.fetch("GET", f"/large?{length}")
    assert (answer.body, answer.get("content-length")) == (b"x" * length, str(length))


def test_a_short_answer_is_one_frame(asgi: Connection) -> None:
    assert asgi.fetch("GET", "/large?5").frames == ["RESPONSE"]


def test_an_answer_is_sent_while_it_is_made(asgi: Connection) -> None:
    answer = asgi.fetch("GET", "/pieces?50,1000")
    assert (len(answer.body), answer.get("content-length")) == (50_000, None)


def test_send_waits_for_a_slow_client(python: str) -> None:
    with Worker("asgi_views:application", python=python) as worker:
        connection = worker.connect()
        id = connection.send("GET", "/pieces?20,100000")
        connection.wait(id, lambda answer: len(answer.body) == 262_144)
        # Others are served meanwhile, and nothing more of it is made.
        assert connection.fetch("GET", "/unread").text == "unread"
        assert "sent 2" not in worker.output()
        granted = 262_144
        while granted < 2_000_000:
            connection.grant(id, 131_072)
            granted += 131_072
        assert len(connection.wait(id).body) == 2_000_000


def test_nobody_is_forgotten_when_the_gateway_does_not_read(python: str) -> None:
    with Worker("asgi_views:application", python=python) as worker:
        connection = worker.connect()
        for _ in range(3):
            # More than is kept for a gateway that does not read; the ids are used again at once.
            ids = [connection.send("GET", "/large?200000", id=id) for id in range(40)]
            assert {len(connection.wait(id).body) for id in ids} == {200_000}
        worker.terminate()
        assert worker.wait() == 0


def test_bytes_of_other_kinds(asgi: Connection) -> None:
    answer = asgi.fetch("GET", "/views")
    assert (answer.body, answer.get("x-a"), answer.get("x-b")) == (b"abcdef", "1", "2")


def test_a_file_is_sent_by_its_descriptor(asgi: Connection) -> None:
    answer = asgi.fetch("GET", "/file")
    assert answer.frames == ["RESPONSE", "FILE"]
    assert answer.get("content-length") == "10"
    assert answer.file
    descriptor, offset, length = answer.file
    assert os.pread(descriptor, length, offset) == b"0123456789"
    assert asgi.fetch("HEAD", "/file").frames == ["RESPONSE"]


@pytest.mark.parametrize(
    ("method", "status", "body", "length"),
    [
        ("GET", 200, b"body", "4"),
        ("GET", 404, b"body", "4"),
        ("HEAD", 200, b"", None),
        ("GET", 204, b"", None),
        ("GET", 304, b"", None),
    ],
)
def test_answers_without_a_body(
    asgi: Connection, method: str, status: int, body: bytes, length: str | None
) -> None:
    answer = asgi.fetch(method, f"/status?{status}")
    assert (answer.status, answer.body, answer.get("content-length")) == (status, body, length)


def test_many_requests_are_under_way_at_once(asgi: Connection) -> None:
    ids = [asgi.send("GET", "/until") for _ in range(50)]
    for number in range(50):
        asgi.fetch("GET", f"/release?{number}")
    assert sorted(asgi.wait(id).json for id in ids) == sorted(map(str, range(50)))


START = "{'type': 'http.response.start', 'status': 200, 'headers': %s}"


@pytest.mark.parametrize(
    ("events", "message"),
    [
        ("[1]", "TypeError: send() takes a dict, not int"),
        ("[{}]", "ValueError: the event has no 'type'"),
        ("[{'type': 1}]", "TypeError: the 'type' of an event is a str"),
        ("[{'type': 'x'}]", 'ValueError: an event of type "x" cannot be sent here'),
        (
            "[{'type': 'http.response.body'}]",
            "RuntimeError: the application sent 'http.response.body' without"
            " 'http.response.start' before it",
        ),
        (
            "[{'type': 'http.response.start'}]",
            "ValueError: 'http.response.start' has no 'status'",
        ),
        (
            "[{'type': 'http.response.start', 'status': 99}]",
            "ValueError: 99 is no status: a number from 200 to 599",
        ),
        (
            "[{'type': 'http.response.start', 'status': '200'}]",
            "TypeError: 'status' is a number from 200 to 599, not 200",
        ),
        (f"[{START % 1}]", "TypeError: 'headers' is a list of pairs, not int"),
        (f"[{START % '[1]'}]", "TypeError: a header is a pair of bytes, name and value"),
        (
            f"[{START % [('a', 'b')]}]",
            "TypeError: a header is a pair of bytes, name and value, not str",
        ),
        (f"[{START % [(b'a b', b'c')]}]", 'ValueError: "a b" is no name of a header'),
        (
            f"[{START % [(b'a', b'b' + bytes([10]))]}]",
            "ValueError: the value of the header a has a '\\n', which cannot be sent",
        ),
    ],
)
def test_wrong_events_are_told(asgi: Connection, events: str, message: str) -> None:
    assert asgi.fetch("GET", f"/wrong?{events}").json == message


@pytest.mark.parametrize(
    ("path", "status", "reset"),
    [
        ("/raise", 500, None),
        ("/nothing", 500, None),
        ("/started-only", 500, None),
        ("/cancel", 500, None),
        ("/exit", 500, None),
        ("/exit?later", 500, None),
        ("/raise-late", 200, "the application failed amid its answer"),
        ("/raise-after", 200, None),
        ("/length?10,10", 200, None),
        ("/length?10,5", 500, None),
        ("/length?10,11", 500, None),
        ("/length?10,5,6", 200, "the application failed amid its answer"),
        ("/length?10,5,4", 200, "the application failed amid its answer"),
    ],
)
def test_failures(asgi: Connection, path: str, status: int, reset: str | None) -> None:
    answer = asgi.fetch("GET", path)
    assert (answer.status, answer.reset) == (status, reset)


def test_lines_of_the_log_know_their_request(python: str) -> None:
    with Worker("asgi_views:application", python=python) as worker:
        connection = worker.connect()
        connection.fetch("GET", "/print", request_id="r-1")
        connection.fetch("GET", "/raise", request_id="r-2")
        lines = worker.lines()
        assert "\x1er-1\x1fbefore" in lines
        assert "\x1er-1\x1fafter" in lines
        assert "\x1er-2\x1fValueError: on purpose" in lines
        assert all(line.startswith("\x1e") for line in lines), lines


def test_an_application_learns_that_nobody_waits(python: str) -> None:
    with Worker("asgi_views:application", python=python) as worker:
        connection = worker.connect()
        id = connection.send("GET", "/wait")
        worker.wait_for_output("waits")
        connection.cancel(id)
        worker.wait_for_output("left: http.disconnect BrokenPipeError")
        assert connection.wait(id).reset
        assert "Traceback" not in worker.output()
        other = worker.connect()
        other.send("GET", "/wait")
        worker.wait_for_output("waits\n" * 1)
        other.close()
        worker.wait_for_output("left: http.disconnect BrokenPipeError")
        assert connection.fetch("GET", "/unread").text == "unread"


def test_an_answer_that_nobody_takes_frees_its_id(python: str) -> None:
    with Worker("asgi_views:application", python=python) as worker:
        connection = worker.connect()
        for path in ("/large?1000000", "/pieces?20,100000"):
            id = connection.send("GET", path)
            connection.wait(id, lambda answer: len(answer.body) == 262_144)
            connection.cancel(id)
            assert connection.wait(id).reset
        assert "Traceback" not in worker.output()
        worker.terminate()
        assert worker.wait() == 0


def test_an_application_that_exits_ends_its_request_only(python: str) -> None:
    with Worker("asgi_views:application", python=python) as worker:
        connection = worker.connect()
        id = connection.send("GET", "/until")
        for path in ("/exit", "/exit?later"):
            assert connection.fetch("GET", path).status == 500
        assert worker.output().count("SystemExit: 3") == 2
        connection.fetch("GET", "/release?still there")
        assert connection.wait(id).json == "still there"
        worker.terminate()
        assert worker.wait() == 0


def test_who_asks_often_leaves_nothing_behind(asgi: Connection) -> None:
    assert asgi.fetch("GET", "/asks-often").json < 100


def test_a_task_that_never_began_has_taken_nothing_of_a_body(asgi: Connection) -> None:
    answer = asgi.fetch("POST", "/cancels-early", body=b"abc")
    assert answer.json == [3, hashlib.sha256(b"abc").hexdigest()]


def test_a_coroutine_goes_on_after_its_answer(python: str) -> None:
    with Worker("asgi_views:application", python=python) as worker:
        connection = worker.connect()
        id = connection.send("GET", "/after")
        assert connection.wait(id).text == "answered"
        # Its id is another's by now.
        assert connection.fetch("GET", "/release?now", id=id).text == "released"
        worker.wait_for_output("after: http.disconnect now")


def test_what_applications_do_with_tasks(asgi: Connection) -> None:
    told = asgi.fetch("GET", "/tasks").json
    assert told == ["http.request", "CancelledError", "late", True]


def test_each_request_has_a_context_of_its_own(asgi: Connection) -> None:
    for _ in range(2):
        assert asgi.fetch("GET", "/context").json == ["none", "mine", "a thread"]


def test_a_request_that_was_called_back_is_not_entered(asgi: Connection) -> None:
    asgi.fetch("GET", "/unread")
    id = asgi.next_id
    asgi.claims[id] = 2
    claims, asgi.claims = asgi.claims, bytearray(4096)  # type: ignore[assignment]
    asgi.send("GET", "/unread")
    asgi.claims = claims
    assert asgi.wait(id).reset == "called back"


def test_draining_finishes_what_is_under_way(python: str) -> None:
    with Worker("asgi_views:application", python=python) as worker:
        connection = worker.connect()
        id = connection.send("GET", "/until")
        connection.fetch("GET", "/unread")
        worker.terminate()
        assert connection.fetch("GET", "/release?late").text == "released"
        assert connection.wait(id).json == "late"
        assert worker.wait() == 0
        assert "shut down" in worker.lines()


def test_a_second_request_to_stop_means_now(python: str) -> None:
    with Worker("asgi_views:application", python=python) as worker:
        connection = worker.connect()
        connection.send("GET", "/until")
        connection.fetch("GET", "/unread")
        worker.terminate()
        connection.fetch("GET", "/unread")
        worker.terminate()
        assert worker.wait() == 75


def test_strangers_are_shown_the_door(python: str) -> None:
    with Worker("asgi_views:application", python=python) as worker:
        with pytest.raises((EOFError, ConnectionError)):
            worker.connect("wrong").wait_ready()
        worker.wait_for_output("its secret is wrong")
        assert worker.connect().fetch("GET", "/unread").text == "unread"


LIFESPAN = """
async def application(scope, receive, send):
    if scope["type"] == "lifespan":
        {lifespan}
    await send({{"type": "http.response.start", "status": 200}})
    await send({{"type": "http.response.body", "body": repr(scope.get("state")).encode()}})
"""


def written(folder: Path, text: str) -> Path:
    (folder / "app.py").write_text(text)
    return folder


@pytest.mark.parametrize(
    "lifespan",
    [
        "raise ValueError('none')",
        "return",
        "await send({'type': 'http.response.start'})",
        "await receive(); raise ValueError('none')",
        "await receive(); await send({'type': 'lifespan.startup.complete'}); raise ValueError('x')",
    ],
)
def test_an_application_without_a_lifespan_is_served(
    python: str, tmp_path: Path, lifespan: str
) -> None:
    root = written(tmp_path, LIFESPAN.format(lifespan=lifespan))
    with Worker(None, python=python, root=root) as worker:
        assert worker.connect().fetch("GET", "/").text == "None"
        worker.terminate()
        assert worker.wait() == 0


def test_a_failed_startup_is_a_failed_start(python: str, tmp_path: Path) -> None:
    failed = "{'type': 'lifespan.startup.failed', 'message': 'no database'}"
    text = LIFESPAN.format(lifespan=f"await receive(); await send({failed}); return")
    with Worker(None, python=python, root=written(tmp_path, text)) as worker:
        assert worker.wait() == 78
        assert worker.lines() == ["error: the application cannot start: no database"]


PLAIN = """
def wsgi(environ, start_response):
    start_response("200 OK", [])
    return [b"wsgi"]

async def asgi(scope, receive, send):
    if scope["type"] != "http": raise ValueError
    await send({"type": "http.response.start", "status": 200})
    await send({"type": "http.response.body", "body": b"asgi"})

class Callable:
    async def __call__(self, scope, receive, send):
        await asgi(scope, receive, send)
    async def method(self, scope, receive, send):
        await asgi(scope, receive, send)

class Both:
    def __call__(self, *arguments):
        return wsgi(*arguments) if len(arguments) == 2 else asgi(*arguments)

callable, both = Callable(), Both()
method = callable.method

def wrapped(scope, receive, send):
    return asgi(scope, receive, send)

class Two:
    def __init__(self, scope): pass
    async def __call__(self, receive, send): pass
"""


@pytest.mark.parametrize(
    ("app", "interface", "expected"),
    [
        ("wsgi", "auto", "wsgi"),
        ("wsgi", "wsgi", "wsgi"),
        ("asgi", "auto", "asgi"),
        ("asgi", "asgi", "asgi"),
        ("callable", "auto", "asgi"),
        ("method", "auto", "asgi"),
        ("both", "auto", "wsgi"),
        ("both", "wsgi", "wsgi"),
        ("both", "asgi", "asgi"),
        ("wrapped", "asgi", "asgi"),
    ],
)
def test_the_interface_is_found_out(
    python: str, tmp_path: Path, app: str, interface: str, expected: str
) -> None:
    root = written(tmp_path, PLAIN)
    with Worker(f"app:{app}", python=python, root=root, interface=interface) as worker:
        assert worker.connect().fetch("GET", "/").text == expected


@pytest.mark.parametrize("interface", ["auto", "asgi"])
def test_asgi_2_is_told_apart(python: str, tmp_path: Path, interface: str) -> None:
    root = written(tmp_path, PLAIN)
    with Worker("app:Two", python=python, root=root, interface=interface) as worker:
        assert worker.wait() == 78
        assert "an application of ASGI 2" in worker.output()
        assert "hint: name an application of ASGI 3" in worker.output()


def test_first_body_is_what_may_be_carried() -> None:
    assert FIRST_BODY == 65_536


def test_the_length_of_a_body_is_a_field(asgi: Connection) -> None:
    """The gateway says it in the frame; Django and others look for it among the fields."""
    scope = asgi.fetch("POST", "/scope", body=b"four").json
    assert [value for name, value in scope["headers"] if name == "content-length"] == ["4"]
