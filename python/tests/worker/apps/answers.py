"""Answers of every kind."""

import contextlib
import io
import os
import sys
import tempfile
import threading

from views import application, plain, view  # noqa: F401

GATE = threading.Event()
CLOSED = []


class Pieces:
    """An iterable that says when it is closed."""

    def __init__(self, name, pieces):
        self.name = name
        self.pieces = iter(pieces)

    def __iter__(self):
        return self

    def __next__(self):
        piece = next(self.pieces)
        if isinstance(piece, Exception):
            raise piece
        return piece

    def close(self):
        CLOSED.append(self.name)


@view("/closed")
def closed(_environ, start_response):
    plain(start_response)
    names, CLOSED[:] = ",".join(CLOSED), []
    return [names.encode()]


@view("/one")
def one(_environ, start_response):
    plain(start_response)
    return [b"only"]


@view("/several")
def several(_environ, start_response):
    plain(start_response)
    return (b"one ", b"", b"two ", b"three")


@view("/none")
def none(_environ, start_response):
    plain(start_response)
    return []


@view("/generator")
def generator(_environ, start_response):
    plain(start_response)
    yield b"one "
    yield b""
    yield b"two"


@view("/late-start")
def late_start(_environ, start_response):
    def pieces():
        plain(start_response)
        yield b"late"

    return pieces()


@view("/closing")
def closing(_environ, start_response):
    plain(start_response)
    return Pieces("closing", [b"a", b"b"])


@view("/written")
def written(_environ, start_response):
    write = plain(start_response)
    write(b"written ")
    write(b"")
    return [b"returned"]


@view("/only-written")
def only_written(_environ, start_response):
    plain(start_response)(b"written")
    return []


@view("/announced")
def announced(environ, start_response):
    plain(start_response, ("Content-Length", environ["QUERY_STRING"]))
    return Pieces("announced", [b"12345", b"67890"])


@view("/announced-list")
def announced_list(environ, start_response):
    plain(start_response, ("Content-Length", environ["QUERY_STRING"]))
    return [b"1234567890"]


@view("/status")
def status(environ, start_response):
    start_response(environ["QUERY_STRING"] + " Whatever", [])
    return [b"body"]


@view("/headers")
def headers(_environ, start_response):
    start_response(
        "200 OK",
        [
            ("Set-Cookie", "a=1"),
            ("set-cookie", "b=2"),
            ("X-Latin", "caf\xe9"),
            ("X-Spaced", "  value\t"),
            ("Connection", "close"),
            ("Transfer-Encoding", "chunked"),
            ("Keep-Alive", "timeout=5"),
        ],
    )
    return [b""]


BAD = {
    "status-bytes": (b"200 OK", []),
    "status-short": ("20", []),
    "status-words": ("Good one", []),
    "status-interim": ("100 Continue", []),
    "status-line": ("200 OK\r\nX: y", []),
    "name-space": ("200 OK", [("X Y", "z")]),
    "name-empty": ("200 OK", [("", "z")]),
    "name-line": ("200 OK", [("X\r\nY", "z")]),
    "name-bytes": ("200 OK", [(b"X", "z")]),
    "value-line": ("200 OK", [("X", "y\r\nZ: 1")]),
    "value-bytes": ("200 OK", [("X", b"y")]),
    "value-wide": ("200 OK", [("X", "\u79c0")]),
    "length-word": ("200 OK", [("Content-Length", "many")]),
    "lengths": ("200 OK", [("Content-Length", "1"), ("Content-Length", "2")]),
    "pair": ("200 OK", [("X", "y", "z")]),
    "string": ("200 OK", ["X: y"]),
    "none": ("200 OK", None),
}


@view("/bad")
def bad(environ, start_response):
    try:
        start_response(*BAD[environ["QUERY_STRING"]])
    except Exception as error:
        message = f"{type(error).__name__}: {error}"
        plain(start_response)
        return [message.encode()]
    return [b"accepted"]


@view("/text")
def text(_environ, start_response):
    plain(start_response)
    return ["text"]


@view("/bare-bytes")
def bare_bytes(_environ, start_response):
    plain(start_response)
    return b"bytes"


@view("/number")
def number(_environ, start_response):
    plain(start_response)
    return 7


@view("/unstarted")
def unstarted(_environ, _start_response):
    return [b"x"]


@view("/twice")
def twice(_environ, start_response):
    plain(start_response)
    plain(start_response)
    return [b"x"]


@view("/raises")
def raises(_environ, _start_response):
    raise ValueError("before the head")


@view("/exits")
def exits(_environ, _start_response):
    sys.exit(3)


@view("/raises-late")
def raises_late(_environ, start_response):
    plain(start_response)
    return Pieces("raises-late", [ValueError("before the first piece")])


@view("/raises-amid")
def raises_amid(_environ, start_response):
    plain(start_response)
    return Pieces("raises-amid", [b"begun", ValueError("amid the body")])


@view("/recovers")
def recovers(_environ, start_response):
    plain(start_response, ("X-Dropped", "yes"))
    try:
        raise ValueError("inside")
    except ValueError:
        start_response("503 Sorry", [("X-Kept", "yes")], sys.exc_info())
    return [b"sorry"]


@view("/recovers-too-late")
def recovers_too_late(_environ, start_response):
    plain(start_response)(b"begun")
    try:
        raise ValueError("inside, too late")
    except ValueError:
        start_response("503 Sorry", [], sys.exc_info())
    return [b"never"]


@view("/fails-to-close")
def fails_to_close(_environ, start_response):
    plain(start_response)

    class Odd(Pieces):
        def close(self):
            raise ValueError("in close")

    return Odd("odd", [b"whole"])


@view("/large")
def large(environ, start_response):
    plain(start_response)
    return [bytes(range(256)) * (int(environ["QUERY_STRING"]) // 256)]


@view("/stream")
def stream(environ, start_response):
    plain(start_response)
    count, size = map(int, environ["QUERY_STRING"].split(","))

    def pieces():
        try:
            for _ in range(count):
                yield b"x" * size
        finally:
            CLOSED.append("stream")

    return pieces()


@view("/written-beside")
def written_beside(_environ, start_response):
    """Another thread writes long pieces, just when the answer ends."""
    write = plain(start_response)
    begun = threading.Event()

    def go_on():
        with contextlib.suppress(OSError, RuntimeError):
            while True:
                begun.set()
                write(b"x" * 40_000)

    threading.Thread(target=go_on).start()
    begun.wait()
    return []


@view("/gate")
def gate(_environ, start_response):
    plain(start_response)

    def pieces():
        yield b"first"
        GATE.wait(30)
        GATE.clear()
        yield b"second"

    return pieces()


@view("/open-gate")
def open_gate(_environ, start_response):
    GATE.set()
    plain(start_response)
    return [b"open"]


def example(size):
    file = tempfile.TemporaryFile()  # noqa: SIM115
    file.write(bytes(range(256)) * (size // 256))
    file.flush()
    file.seek(0)
    return file


@view("/file")
def file(environ, start_response):
    wrapped = example(4096)
    wrapped.seek(int(environ["QUERY_STRING"] or 0))
    plain(start_response)
    return environ["wsgi.file_wrapper"](wrapped, 1024)


@view("/file-announced")
def file_announced(environ, start_response):
    plain(start_response, ("Content-Length", environ["QUERY_STRING"]))
    return environ["wsgi.file_wrapper"](example(4096))


@view("/file-in-memory")
def file_in_memory(environ, start_response):
    plain(start_response)
    return environ["wsgi.file_wrapper"](io.BytesIO(b"z" * 3000), 1024)


@view("/file-of-a-pipe")
def file_of_a_pipe(environ, start_response):
    reader, writer = os.pipe()
    os.write(writer, b"from a pipe")
    os.close(writer)
    plain(start_response)
    return environ["wsgi.file_wrapper"](os.fdopen(reader, "rb"))


@view("/file-closed")
def file_closed(environ, start_response):
    plain(start_response)

    class Told(io.BytesIO):
        def close(self):
            CLOSED.append("file")
            super().close()

    return environ["wsgi.file_wrapper"](Told(b"told"))


KEPT = {}


@view("/keep")
def keep(environ, start_response):
    KEPT["write"] = start_response("200 OK", [("Content-Type", "text/plain")])
    KEPT["input"] = environ["wsgi.input"]
    return iter([b"kept"])


@view("/use-kept")
def use_kept(_environ, start_response):
    said = []
    for use in (lambda: KEPT["write"](b"of another request"), KEPT["input"].read):
        try:
            said.append(f"{use()!r}")
        except Exception as error:
            said.append(type(error).__name__)
    plain(start_response)
    return [" ".join(said).encode()]
