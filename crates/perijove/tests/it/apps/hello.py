"""The site of the stories: each path does one thing that a story needs.

Files in the site's folder say where a request is (`entered-KEY`) and let it go on (`release-KEY`).
"""

import hashlib
import json
import os
import sys
import time

VERSION = "one"


def application(environ, start_response):
    name, _, rest = environ["PATH_INFO"].lstrip("/").partition("/")
    view = VIEWS.get(name)
    if view is None:
        start_response("404 Not Found", [("Content-Type", "text/plain")])
        return [b"no such view\n"]
    return view(environ, start_response, rest)


def answer(start_response, text, *fields):
    body = text.encode()
    start_response("200 OK", [("Content-Type", "text/plain"), *fields])
    return [body]


def hello(environ, start_response, rest):
    return answer(start_response, "hello\n")


def version(environ, start_response, rest):
    return answer(start_response, VERSION)


def pid(environ, start_response, rest):
    return answer(start_response, str(os.getpid()))


def wait(environ, start_response, key):
    open(f"entered-{key}", "w").close()
    while not os.path.exists(f"release-{key}"):
        time.sleep(0.01)
    return answer(start_response, f"waited for {key}\n")


def upload(environ, start_response, rest):
    digest, length = hashlib.sha256(), 0
    while chunk := environ["wsgi.input"].read(65536):
        digest.update(chunk)
        length += len(chunk)
    return answer(start_response, f"{length} {digest.hexdigest()}")


def download(environ, start_response, rest):
    start_response("200 OK", [("Content-Type", "application/octet-stream")])
    block = bytes(range(256)) * 256
    return (block for _ in range(int(rest)))


def fail(environ, start_response, rest):
    raise RuntimeError("this view always fails")


def die(environ, start_response, rest):
    os._exit(1)


def say(environ, start_response, rest):
    print("printed by the application")
    print("said by the application", file=sys.stderr)
    return answer(start_response, "said\n")


def sleep(environ, start_response, rest):
    time.sleep(int(rest) / 1000)
    return answer(start_response, "slept\n")


def print_it(environ, start_response, rest):
    print(rest)
    return answer(start_response, "printed\n")


def environment(environ, start_response, rest):
    mask = os.umask(0)
    os.umask(mask)
    return answer(start_response, json.dumps({**os.environ, "umask": f"{mask:03o}"}))


def tell(environ, start_response, rest):
    known = {key: value for key, value in environ.items() if isinstance(value, str)}
    return answer(start_response, json.dumps(known))


VIEWS = {
    "": hello,
    "version": version,
    "pid": pid,
    "wait": wait,
    "upload": upload,
    "download": download,
    "fail": fail,
    "die": die,
    "say": say,
    "sleep": sleep,
    "print": print_it,
    "environment": environment,
    "tell": tell,
}
