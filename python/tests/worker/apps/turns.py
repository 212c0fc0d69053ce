"""Views that hold their thread until they are let go."""

import os
import threading
import time

from views import application, plain, view  # noqa: F401

LET_GO = threading.Event()
INSIDE = threading.Semaphore(0)
ENTERED = []


@view("/stuck")
def stuck(_environ, start_response):
    INSIDE.release()
    LET_GO.wait(60)
    plain(start_response)
    return [b"let go"]


@view("/spinning")
def spinning(_environ, start_response):
    INSIDE.release()
    while not LET_GO.is_set():
        pass
    plain(start_response)
    return [b"let go"]


@view("/await-inside")
def await_inside(environ, start_response):
    for _ in range(int(environ["QUERY_STRING"])):
        assert INSIDE.acquire(timeout=30)
    plain(start_response)
    return [b"inside"]


@view("/let-go")
def let_go(_environ, start_response):
    LET_GO.set()
    plain(start_response)
    return [b"done"]


@view("/quick")
def quick(environ, start_response):
    ENTERED.append(environ["QUERY_STRING"])
    plain(start_response)
    return [threading.current_thread().name.encode()]


@view("/entered")
def entered(_environ, start_response):
    plain(start_response)
    return [",".join(ENTERED).encode()]


@view("/seconds")
def seconds(environ, start_response):
    time.sleep(float(environ["QUERY_STRING"]))
    plain(start_response)
    return [b"slept"]


@view("/dies")
def dies(_environ, _start_response):
    os._exit(9)
