"""Prints, logs, and fails to."""

import logging
import sys
import threading

from views import application, plain, view  # noqa: F401

logging.basicConfig(level=logging.INFO, format="%(levelname)s %(message)s")
print("printed while it was imported")

MEET = threading.Barrier(2, timeout=30)


@view("/print")
def prints(environ, start_response):
    print("to stdout")
    sys.stderr.write("half a ")
    sys.stderr.write("line\nand another\nand the rest")
    sys.stderr.flush()
    logging.warning("logged")
    environ["wsgi.errors"].writelines(["to ", "errors\n"])
    plain(start_response)
    return [b""]


@view("/interleaved")
def interleaved(environ, start_response):
    name = environ["QUERY_STRING"]
    sys.stdout.write(f"begun by {name}, ")
    MEET.wait()
    sys.stdout.write(f"ended by {name}\n")
    MEET.wait()
    plain(start_response)
    return [b""]


@view("/raises")
def raises(_environ, _start_response):
    raise ValueError("shown in the log")


@view("/odd")
def odd(_environ, start_response):
    print("surrogate \udc80 and 秀樹")
    plain(start_response)
    return [b""]
