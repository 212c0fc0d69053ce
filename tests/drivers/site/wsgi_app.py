"""The behaviours that every WSGI driver is asked for, one to a path."""

import hashlib
import json
import os
import sys
import time
from pathlib import Path
from wsgiref.util import FileWrapper

SIGNS = Path(os.environ["SIGNS"])
print("loaded", flush=True)


def application(environ, start_response):
    name = environ["PATH_INFO"].split("/")[1] or "index"
    view = globals().get(f"show_{name}", show_environ)
    return view(environ, start_response)


def answer(start_response, value, status="200 OK"):
    body = json.dumps(value).encode()
    fields = [("Content-Type", "application/json"), ("Content-Length", str(len(body)))]
    start_response(status, fields)
    return [body]


def show_environ(environ, start_response):
    texts = {name: value for name, value in environ.items() if isinstance(value, str)}
    return answer(start_response, texts)


def show_process(environ, start_response):
    command = Path("/proc/self/cmdline").read_bytes().decode().split("\0")
    told = {"pid": os.getpid(), "environment": dict(os.environ), "command": command}
    told |= {"uid": os.getuid(), "groups": os.getgroups(), "argv": sys.argv}
    return answer(start_response, told)


def show_upload(environ, start_response):
    stream, digest, length = environ["wsgi.input"], hashlib.sha256(), 0
    while piece := stream.read(65536):
        digest.update(piece)
        length += len(piece)
    return answer(start_response, {"length": length, "digest": digest.hexdigest()})


def show_stream(environ, start_response):
    start_response("200 OK", [("Content-Type", "text/plain")])
    yield b"first\n"
    wait_for(environ["QUERY_STRING"])
    yield b"last\n"


def show_large(environ, start_response):
    start_response("200 OK", [("Content-Type", "application/octet-stream")])
    piece = bytes(range(256)) * 256
    for _ in range(320):
        yield piece


def show_file(environ, start_response):
    path = SIGNS / "download"
    start_response("200 OK", [("Content-Length", str(path.stat().st_size))])
    wrapper = environ.get("wsgi.file_wrapper", FileWrapper)
    return wrapper(path.open("rb"), 8192)


def show_status(environ, start_response):
    status = environ["QUERY_STRING"].replace("+", " ")
    start_response(status, [("ETag", '"x"')])
    return []


def show_cookies(environ, start_response):
    start_response("200 OK", [("Set-Cookie", "a=1"), ("Set-Cookie", "b=2"), ("X-Way", "out")])
    return [b"two"]


def show_broken(environ, start_response):
    raise RuntimeError("broken before the answer")


def show_cut(environ, start_response):
    start_response("200 OK", [("Content-Type", "text/plain")])
    yield b"begun\n" * 1000
    raise RuntimeError("broken in the middle")


def show_endless(environ, start_response):
    start_response("200 OK", [("Content-Type", "text/plain")])
    sign = environ["QUERY_STRING"]
    try:
        while True:
            yield b"more\n" * 1000
            time.sleep(0.01)
    finally:
        (SIGNS / sign).touch()


def show_slow(environ, start_response):
    begun, end = environ["QUERY_STRING"].split("&")
    (SIGNS / begun).touch()
    wait_for(end)
    return answer(start_response, {"pid": os.getpid()})


def show_print(environ, start_response):
    print("printed:", environ["QUERY_STRING"], flush=True)
    environ["wsgi.errors"].write(f"complained: {environ['QUERY_STRING']}\n")
    environ["wsgi.errors"].flush()
    return answer(start_response, environ.get("perijove.request_id"))


def wait_for(sign):
    deadline = time.monotonic() + 60
    while not (SIGNS / sign).exists():
        if time.monotonic() > deadline:
            raise TimeoutError(sign)
        time.sleep(0.01)
