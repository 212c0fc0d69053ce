"""A site of ASGI that takes its time, in each of the ways in which one can."""

import asyncio
import os
import time

CANCELLED = []


async def application(scope, receive, send):
    if scope["type"] != "http":
        return
    name, _, rest = scope["path"].lstrip("/").partition("/")
    await VIEWS[name](receive, send, rest)


async def answer(send, text, more_body=False):
    fields = [(b"content-type", b"text/plain")]
    await send({"type": "http.response.start", "status": 200, "headers": fields})
    await send({"type": "http.response.body", "body": text.encode(), "more_body": more_body})


async def hello(receive, send, rest):
    await answer(send, "hello\n")


async def wait(receive, send, key):
    open(f"entered-{key}", "w").close()
    try:
        await deeper(key)
    except asyncio.CancelledError:
        CANCELLED.append(key)
        raise
    await answer(send, "waited\n")


async def deeper(key):
    while not os.path.exists(f"release-{key}"):
        await asyncio.sleep(0.01)


async def stubborn(receive, send, key):
    """Will not be cancelled."""
    try:
        await deeper("never")
    except asyncio.CancelledError:
        await asyncio.sleep(0.1)
        CANCELLED.append(key)
        await answer(send, "all the same\n")


async def stream(receive, send, milliseconds):
    await answer(send, "begun\n", more_body=True)
    await asyncio.sleep(int(milliseconds) / 1000)
    await send({"type": "http.response.body", "body": b"ended\n"})


async def block(receive, send, milliseconds):
    """Keeps the event loop from its next turn."""
    time.sleep(int(milliseconds) / 1000)
    await answer(send, "blocked\n")


async def cancelled(receive, send, rest):
    await answer(send, " ".join(CANCELLED))


VIEWS = {view.__name__: view for view in (hello, wait, stubborn, stream, block, cancelled)}
