"""What is asked of every driver. Each behaviour gives what it observed, `yes` when all is well."""

from __future__ import annotations

import contextlib
import hashlib
import http.client
import os
import signal
import threading
from collections.abc import Callable
from typing import Any

from served import CLIENT, PATIENCE, Answer, Served, until
from websockets.exceptions import ConnectionClosed
from websockets.sync.client import connect

Behaviour = Callable[[Served], str]
WHILE_IT_RUNS: dict[str, Behaviour] = {}
OF_ITS_LIFE: dict[str, Behaviour] = {}


def behaviour(name: str, among: dict[str, Behaviour] = WHILE_IT_RUNS) -> Callable[..., Behaviour]:
    def add(function: Behaviour) -> Behaviour:
        among[name] = function
        return function

    return add


@behaviour("scheme, host and address are the client's")
def client(site: Served) -> str:
    seen = site.ask("/environ", **CLIENT).json()
    names = ("wsgi.url_scheme", "HTTP_HOST", "REMOTE_ADDR", "SERVER_PORT")
    wanted = ["https", "shop.example:8443", "203.0.113.7", "8443"]
    return as_wanted([seen[name] for name in names], wanted)


@behaviour("what only perijove may say is taken from nobody")
def forged(site: Served) -> str:
    seen = site.ask("/environ", Perijove_Question="ready", Perijove_User="ada").json()
    return as_wanted([name for name in seen if name.startswith("HTTP_PERIJOVE")], [])


@behaviour("the path is decoded once")
def path(site: Served) -> str:
    seen = site.ask("/environ/a%20b/%C3%A9%25?x=%26&y=/").json()
    wanted = ["/environ/a b/Ã©%", "x=%26&y=/", ""]
    return as_wanted([seen["PATH_INFO"], seen["QUERY_STRING"], seen["SCRIPT_NAME"]], wanted)


@behaviour("an escaped slash in a path")
def escaped_slash(site: Served) -> str:
    answer = site.ask("/environ/a%2Fb")
    return "yes" if answer.status == 200 else str(answer.status)


@behaviour("a body of known length")
def upload(site: Served) -> str:
    return uploaded(site, b"x" * 100_000, b"x" * 100_000)


@behaviour("a body in chunks")
def chunked(site: Served) -> str:
    pieces = [b"piece %d\n" % number * 100 for number in range(50)]
    return uploaded(site, iter(pieces), b"".join(pieces))


@behaviour("a body of 20 MiB")
def large_upload(site: Served) -> str:
    body = os.urandom(1 << 20) * 20
    return uploaded(site, body, body)


@behaviour("no body")
def no_body(site: Served) -> str:
    return uploaded(site, None, b"")


def uploaded(site: Served, body: Any, whole: bytes) -> str:
    answer = site.ask("/upload", "POST", body)
    if answer.status != 200:
        return str(answer.status)
    wanted = {"length": len(whole), "digest": hashlib.sha256(whole).hexdigest()}
    return as_wanted(answer.json(), wanted)


@behaviour("an answer streams")
def streaming(site: Served) -> str:
    connection = site.connect()
    connection.request("GET", "/stream?streamed")
    response = connection.getresponse()
    first = response.read1()
    # Nothing further is made before this.
    site.sign("streamed")
    rest = response.read()
    connection.close()
    return as_wanted([first, rest], [b"first\n", b"last\n"])


@behaviour("an answer of 20 MiB")
def large(site: Served) -> str:
    body = site.ask("/large").body
    return as_wanted(len(body), 320 * 65536) if body[:256] == bytes(range(256)) else "garbled"


@behaviour("a file")
def file(site: Served) -> str:
    content = os.urandom(300_000)
    (site.signs / "download").write_bytes(content)
    return "yes" if site.ask("/file").body == content else "garbled"


@behaviour("HEAD has the fields of GET and no body")
def head(site: Served) -> str:
    got, asked = site.ask("/environ"), site.ask("/environ", "HEAD")
    if (asked.status, asked.body) != (200, b""):
        return f"{asked.status} with {len(asked.body)} bytes"
    # The method is another, so the length may be.
    near = abs(int(asked.fields["Content-Length"] or 0) - int(got.fields["Content-Length"])) < 100
    return "yes" if near else f"Content-Length: {asked.fields['Content-Length']}"


@behaviour("204 and 304 have no body")
def bare(site: Served) -> str:
    connection = site.connect()
    seen = []
    for status in ("204+No+Content", "304+Not+Modified"):
        connection.request("GET", f"/status?{status}")
        response = connection.getresponse()
        seen += [response.status, response.read(), response.headers["ETag"]]
    connection.close()
    return as_wanted(seen, [204, b"", '"x"', 304, b"", '"x"'])


@behaviour("a field twice stays two")
def twice(site: Served) -> str:
    fields = site.ask("/cookies").fields
    return as_wanted(fields.get_all("Set-Cookie"), ["a=1", "b=2"])


@behaviour("a request's field of 12 KiB")
def long_field(site: Served) -> str:
    answer = site.ask("/environ", X_Long="x" * 12_288)
    return (
        str(answer.status)
        if answer.status != 200
        else as_wanted(len(answer.json()["HTTP_X_LONG"]), 12_288)
    )


@behaviour("an exception before the answer is a 500")
def broken(site: Served) -> str:
    status = site.ask("/broken").status
    site.told("RuntimeError: broken before the answer")
    site.ask("/environ").json()
    return "yes" if status == 500 else str(status)


@behaviour("an exception in the middle cuts the answer off")
def cut(site: Served) -> str:
    connection = site.connect()
    connection.request("GET", "/cut")
    response = connection.getresponse()
    try:
        body = response.read()
    except (http.client.IncompleteRead, ConnectionError):
        return "yes"
    finally:
        connection.close()
        site.ask("/environ").json()
    if response.status != 200:
        return str(response.status)
    return f"whole, {len(body)} bytes"


@behaviour("a client that goes ends the answer")
def gone(site: Served) -> str:
    connection = site.connect()
    connection.request("GET", "/endless?gone")
    connection.getresponse().read(1000)
    connection.close()
    site.seen("gone")
    site.ask("/environ").json()
    return "yes"


@behaviour("a client's connection is kept")
def kept(site: Served) -> str:
    connection = site.connect()
    ports = set()
    for _ in range(3):
        connection.request("GET", "/environ")
        connection.getresponse().read()
        assert connection.sock is not None
        ports.add(connection.sock.getsockname())
    connection.close()
    return as_wanted(len(ports), 1)


@behaviour("a fast request beside a slow one")
def beside(site: Served) -> str:
    with asked(site, "/slow?beside-begun&beside-end") as slow:
        site.seen("beside-begun")
        answers = [site.ask("/environ").status for _ in range(20)]
        site.sign("beside-end")
        answers.append(slow.result().status)
    return as_wanted(set(answers), {200})


@behaviour("more requests than it takes wait in line")
def line(site: Served) -> str:
    threads = [asked(site, f"/slow?line-{number}&line-end") for number in range(12)]
    for thread in threads:
        thread.__enter__()
    until(lambda: any((site.signs / f"line-{number}").exists() for number in range(12)))
    site.sign("line-end")
    answers = [thread.result().status for thread in threads]
    for thread in threads:
        thread.__exit__()
    return as_wanted(set(answers), {200})


@behaviour("a websocket, with its close code")
def websocket(site: Served) -> str:
    if site.column.interface == "wsgi":
        return "–"
    seen: list[Any] = []
    with connect(f"ws://{site.address}/socket", subprotocols=["first", "second"]) as socket:
        seen.append(socket.subprotocol)
        for message in ("text", b"bytes", "x" * 100_000):
            socket.send(message)
            seen.append(socket.recv(timeout=PATIENCE) == message)
        socket.send("close")
        with contextlib.suppress(ConnectionClosed):
            socket.recv(timeout=PATIENCE)
        seen += [socket.close_code, socket.close_reason]
    return as_wanted(seen, ["first", True, True, True, 4001, "asked"])


@behaviour("files of the site beside it")
def files(site: Served) -> str:
    answer = site.ask("/hello.txt")
    return as_wanted([answer.status, answer.body], [200, b"a file beside the application\n"])


@behaviour("what it prints is in the log")
def printed(site: Served) -> str:
    site.ask("/print?good-morning").json()
    for word in ("printed: good-morning", "complained: good-morning"):
        site.told(word)
    return "yes"


@behaviour("… with the request's id")
def printed_with_id(site: Served) -> str:
    identity = site.ask("/print?good-evening", X_Request_Id="0123456789abcdef").json()
    line = site.told("printed: good-evening")
    return "yes" if "request_id" in line and (identity or "") in line else "no"


@behaviour("its environment has no setting of ours")
def environment(site: Served) -> str:
    told = site.ask("/process").json()
    ours = {name for name in told["environment"] if name.startswith("PERIJOVE_")}
    is_open = any("secret" in word for word in told["command"])
    return as_wanted([sorted(ours), is_open], [["PERIJOVE_CONTROL"], False])


@behaviour("a worker that is killed is replaced", OF_ITS_LIFE)
def killed(site: Served) -> str:
    site.start()
    victim = site.ask("/process").json()["pid"]
    os.kill(victim, signal.SIGKILL)
    until(lambda: not os.path.exists(f"/proc/{victim}") or is_zombie(victim))
    answers = {site.ask("/environ").status for _ in range(20)}
    return "yes" if answers == {200} else ", ".join(map(str, sorted(answers)))


@behaviour("a stop lets a request finish", OF_ITS_LIFE)
def stopped(site: Served) -> str:
    site.start()
    with asked(site, "/slow?stop-begun&stop-end") as slow:
        site.seen("stop-begun")
        assert site.process is not None
        site.process.send_signal(signal.SIGTERM)
        site.told("requests under way are finished first")
        site.sign("stop-end")
        status = slow.result().status
    return as_wanted([status, site.end(), site.left()], [200, 0, []])


@behaviour("a reload replaces it, and drops nothing", OF_ITS_LIFE)
def reloaded(site: Served) -> str:
    site.start()
    before = site.ask("/process").json()["pid"]
    with asked(site, "/slow?reload-begun&reload-end") as slow:
        site.seen("reload-begun")
        assert site.process is not None
        site.process.send_signal(signal.SIGHUP)
        statuses = set()

        def is_new() -> bool:
            answer = site.ask("/process")
            statuses.add(answer.status)
            return answer.status == 200 and bool(answer.json()["pid"] != before)

        site.told("reloaded")
        until(is_new)
        site.sign("reload-end")
        statuses.add(slow.result().status)
    return as_wanted(statuses, {200})


@behaviour("what cannot be imported ends the start with 78", OF_ITS_LIFE)
def cannot_be_imported(site: Served) -> str:
    site.app = "not_there:application"
    process = site.begin()
    status = process.wait(60)
    logged = site.logged()
    is_told = "a_module_that_nobody_has" in logged and "cannot be loaded" in logged
    return as_wanted([status, is_told], [78, True])


class asked:
    """A request that is under way on a thread of its own."""

    def __init__(self, site: Served, path: str) -> None:
        self._answer: Answer | None = None

        def run() -> None:
            self._answer = site.ask(path)

        self._thread = threading.Thread(target=run)

    def __enter__(self) -> asked:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._thread.join()

    def result(self) -> Answer:
        self._thread.join()
        assert self._answer is not None
        return self._answer


def is_zombie(pid: int) -> bool:
    try:
        with open(f"/proc/{pid}/stat") as stat:
            return stat.read().rsplit(")", 1)[1].split()[0] == "Z"
    except OSError:
        return True


def as_wanted(seen: Any, wanted: Any) -> str:
    return "yes" if seen == wanted else str(seen).replace("|", "/")
