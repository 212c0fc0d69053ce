"""Reads the body of a request in every way."""

import hashlib
import json
import threading

from views import application, plain, view  # noqa: F401


def answer(start_response, shown):
    plain(start_response)
    return [json.dumps(shown).encode()]


@view("/all")
def all_at_once(environ, start_response):
    body = environ["wsgi.input"].read()
    return answer(start_response, [len(body), hashlib.sha256(body).hexdigest()])


@view("/blocks")
def blocks(environ, start_response):
    size = int(environ["QUERY_STRING"])
    body = environ["wsgi.input"]
    lengths, digest = [], hashlib.sha256()
    while block := body.read(size):
        lengths.append(len(block))
        digest.update(block)
    assert body.read() == b""
    return answer(start_response, [sum(lengths), digest.hexdigest(), max(lengths, default=0)])


@view("/lines")
def lines(environ, start_response):
    body = environ["wsgi.input"]
    shown = [line.decode() for line in iter(body.readline, b"")]
    return answer(start_response, shown)


@view("/iterated")
def iterated(environ, start_response):
    return answer(start_response, [line.decode() for line in environ["wsgi.input"]])


@view("/mixed")
def mixed(environ, start_response):
    body = environ["wsgi.input"]
    shown = [
        body.readline(3),
        body.readline(),
        body.read(0),
        body.read(2),
        body.readlines(5),
        body.readlines(),
        body.read(),
        body.readline(),
    ]
    return answer(start_response, json.loads(json.dumps(shown, default=bytes.decode)))


@view("/unread")
def unread(_environ, start_response):
    return answer(start_response, "unread")


@view("/first")
def first(environ, start_response):
    return answer(start_response, environ["wsgi.input"].read(10).decode())


@view("/tolerant")
def tolerant(environ, start_response):
    try:
        environ["wsgi.input"].read()
    except OSError as error:
        return answer(start_response, type(error).__name__)
    return answer(start_response, "all of it")


@view("/echo")
def echo(environ, start_response):
    plain(start_response)
    body = environ["wsgi.input"]
    return iter(lambda: body.read(50_000), b"")


@view("/all-unhashed")
def all_unhashed(environ, start_response):
    return answer(start_response, len(environ["wsgi.input"].read()))


@view("/elsewhere")
def elsewhere(environ, start_response):
    read = []
    thread = threading.Thread(target=lambda: read.append(environ["wsgi.input"].read()))
    thread.start()
    thread.join()
    return answer(start_response, [len(read[0]), hashlib.sha256(read[0]).hexdigest()])
