"""The site of the deploys: notes each request with its process on entry."""

import hashlib
import os
import time
from urllib.parse import parse_qs

VERSION = "0"

entries = os.open("entries", os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)


def application(environ, start_response):
    query = parse_qs(environ["QUERY_STRING"])
    if "id" in query:
        os.write(entries, f"{query['id'][0]} {os.getpid()}\n".encode())
    return VIEWS[environ["PATH_INFO"]](environ, start_response)


def answer(start_response, text):
    body = text.encode()
    start_response("200 OK", [("Content-Type", "text/plain"), ("Content-Length", str(len(body)))])
    return [body]


def health(environ, start_response):
    return answer(start_response, "well")


def version(environ, start_response):
    return answer(start_response, VERSION)


def small(environ, start_response):
    return answer(start_response, "small")


def slow(environ, start_response):
    time.sleep(0.2)
    return answer(start_response, "slow")


def upload(environ, start_response):
    digest = hashlib.sha256()
    while piece := environ["wsgi.input"].read(65536):
        digest.update(piece)
    return answer(start_response, digest.hexdigest())


def stream(environ, start_response):
    start_response("200 OK", [("Content-Type", "text/plain")])
    for _ in range(10):
        yield b"piece " * 100
        time.sleep(0.01)


VIEWS = {
    "/health": health,
    "/version": version,
    "/small": small,
    "/slow": slow,
    "/upload": upload,
    "/stream": stream,
}
