"""What `wsgiref.validate` thinks of all that is done to an application."""

import warnings
from wsgiref.validate import validator

warnings.simplefilter("error")


def plain(environ, start_response):
    body = environ["wsgi.input"].read(1 << 20)
    environ["wsgi.errors"].write(f"read {len(body)}\n")
    environ["wsgi.errors"].flush()
    headers = [("Content-Type", "text/plain"), ("Content-Length", str(len(body) + 2))]
    start_response("200 OK", headers)
    return [] if environ["REQUEST_METHOD"] == "HEAD" else [b"ok", body]


def written(environ, start_response):
    write = start_response("200 OK", [("Content-Type", "text/plain")])
    write(b"".join(environ["wsgi.input"].readlines(100)))
    return iter([environ["wsgi.input"].readline(), *environ["wsgi.input"]])


def wrapped(environ, start_response):
    start_response("200 OK", [("Content-Type", "text/plain")])
    with open(__file__, "rb") as file:
        return list(environ["wsgi.file_wrapper"](file, 4096))


def empty(_environ, start_response):
    start_response("204 Nothing", [])
    return []


VALIDATED = {f"/{app.__name__}": validator(app) for app in (plain, written, wrapped, empty)}


def application(environ, start_response):
    return VALIDATED[environ["PATH_INFO"]](environ, start_response)
