"""Forks within a request."""

import os
import time

from views import application, plain, view  # noqa: F401


@view("/left-behind")
def left_behind(_environ, start_response):
    child = os.fork()
    if child == 0:
        time.sleep(600)
        os._exit(0)
    plain(start_response)
    return [str(child).encode()]


@view("/comes-back")
def comes_back(_environ, start_response):
    child = os.fork()
    plain(start_response)
    if child == 0:
        return [b"child"]
    _, status = os.waitpid(child, 0)
    return [f"parent {status}".encode()]


@view("/with-body")
def with_body(environ, start_response):
    child = os.fork()
    if child == 0:
        del environ["wsgi.input"]
        os._exit(0)
    os.waitpid(child, 0)
    plain(start_response)
    return [str(len(environ["wsgi.input"].read())).encode()]
