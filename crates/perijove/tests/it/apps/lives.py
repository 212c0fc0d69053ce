"""The site of workers that go wrong: each path does one thing that a worker may do to itself."""

import ctypes
import os
import stat
import subprocess
import sys
import time

kept = []


def application(environ, start_response):
    name, _, rest = environ["PATH_INFO"].lstrip("/").partition("/")
    return VIEWS[name](environ, start_response, rest)


def answer(start_response, text):
    start_response("200 OK", [("Content-Type", "text/plain")])
    return [str(text).encode()]


def pid(environ, start_response, rest):
    return answer(start_response, os.getpid())


def leak(environ, start_response, rest):
    kept.append(os.urandom(int(rest) << 20))
    return answer(start_response, os.getpid())


def burn(environ, start_response, rest):
    end = time.process_time() + float(rest)
    while time.process_time() < end:
        pass
    return answer(start_response, os.getpid())


def hold(environ, start_response, rest):
    """Sleeps in C with the interpreter's lock: no thread of Python runs meanwhile."""
    open("holding", "w").close()
    ctypes.PyDLL(None).sleep(int(rest))
    return answer(start_response, os.getpid())


def fork(environ, start_response, rest):
    """Starts children that outlive the request: one program, one copy of the worker."""
    program = subprocess.Popen(["sleep", "1000"])
    copy = os.fork()
    if copy == 0:
        time.sleep(1000)
        os._exit(0)
    return answer(start_response, f"{program.pid} {copy}")


def close(environ, start_response, rest):
    """Closes sockets that are not its own: the one it is reached by, or all."""
    body = answer(start_response, os.getpid())
    for number in range(3, 200):
        try:
            is_socket = stat.S_ISSOCK(os.fstat(number).st_mode)
        except OSError:
            continue
        if is_socket and (rest == "all" or number == 3):
            os.close(number)
    return body


def fail(environ, start_response, rest):
    if rest == "before":
        raise RuntimeError("before the head")
    start_response("200 OK", [("Content-Type", "text/plain")])
    if rest == "after-head":
        raise RuntimeError("after the head, before the body")
    return Failing(rest)


class Failing:
    """A body that fails between two pieces, at its end, or when it is closed."""

    def __init__(self, when):
        self.when = when

    def __iter__(self):
        yield b"first "
        if self.when == "during":
            raise RuntimeError("during the body")
        yield b"last"
        if self.when == "at-end":
            raise RuntimeError("at the end of the body")

    def close(self):
        if self.when == "close":
            raise RuntimeError("when the body is closed")


def end(environ, start_response, rest):
    sys.exit(1)


VIEWS = {
    "pid": pid,
    "leak": leak,
    "burn": burn,
    "hold": hold,
    "fork": fork,
    "close": close,
    "fail": fail,
    "end": end,
}
