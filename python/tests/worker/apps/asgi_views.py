"""An ASGI application whose views show what a server must do."""

import asyncio
import contextvars
import gc
import hashlib
import json
import os
import sys
import tempfile

VIEWS = {}
EVENTS = []
NOTE = contextvars.ContextVar("note", default="none")


def view(path):
    return lambda function: VIEWS.setdefault(path, function)


async def application(scope, receive, send):
    view = lifespan if scope["type"] == "lifespan" else VIEWS[scope["path"]]
    await view(scope, receive, send)


async def lifespan(scope, receive, send):
    assert (await receive())["type"] == "lifespan.startup"
    scope["state"]["greeting"] = "hello"
    await send({"type": "lifespan.startup.complete"})
    assert (await receive())["type"] == "lifespan.shutdown"
    print("shut down", flush=True)
    await send({"type": "lifespan.shutdown.complete"})


async def start(send, status=200, headers=()):
    await send({"type": "http.response.start", "status": status, "headers": headers})


async def answer(send, shown, headers=()):
    await start(send, 200, headers)
    body = shown if isinstance(shown, bytes) else json.dumps(shown).encode()
    await send({"type": "http.response.body", "body": body})


def shown(value):
    """Something as JSON can have it."""
    if isinstance(value, bytes):
        return value.decode("latin-1")
    if isinstance(value, (list, tuple)):
        return [shown(item) for item in value]
    if isinstance(value, dict):
        return {key: shown(item) for key, item in value.items()}
    return value


@view("/scope/ä b")
@view("/scope")
@view("/mount/scope")
async def scope_of(scope, receive, send):
    await answer(send, shown(scope))


@view("/all")
async def whole_body(scope, receive, send):
    digest, lengths = hashlib.sha256(), []
    while True:
        event = await receive()
        assert event["type"] == "http.request", event
        lengths.append(len(event["body"]))
        digest.update(event["body"])
        if not event["more_body"]:
            break
    await answer(send, [sum(lengths), digest.hexdigest()])


@view("/unread")
async def unread(scope, receive, send):
    await answer(send, b"unread")


@view("/large")
async def large(scope, receive, send):
    await answer(send, b"x" * int(scope["query_string"]))


@view("/pieces")
async def pieces(scope, receive, send):
    """So many pieces of so many bytes, of each of which a line is printed once it is sent."""
    count, size = map(int, scope["query_string"].split(b","))
    await start(send)
    for number in range(count):
        await send({"type": "http.response.body", "body": b"x" * size, "more_body": True})
        print(f"sent {number}", flush=True)
    await send({"type": "http.response.body"})


@view("/views")
async def other_bytes(scope, receive, send):
    await start(send, 200, ((b"x-a", b"1"), [bytearray(b"x-b"), memoryview(b"2")]))
    await send({"type": "http.response.body", "body": memoryview(b"abc"), "more_body": True})
    await send({"type": "http.response.body", "body": bytearray(b"def")})


@view("/file")
async def file(scope, receive, send):
    with tempfile.NamedTemporaryFile(delete=False) as made:
        made.write(b"0123456789")
    try:
        await start(send)
        await send({"type": "http.response.pathsend", "path": made.name})
    finally:
        os.unlink(made.name)


@view("/status")
async def status(scope, receive, send):
    await start(send, int(scope["query_string"]), [(b"content-type", b"text/plain")])
    await send({"type": "http.response.body", "body": b"body"})


@view("/raise")
async def raises(scope, receive, send):
    raise ValueError("on purpose")


@view("/raise-late")
async def raises_late(scope, receive, send):
    await start(send)
    await send({"type": "http.response.body", "body": b"begun", "more_body": True})
    raise ValueError("on purpose")


@view("/raise-after")
async def raises_after(scope, receive, send):
    await answer(send, b"done")
    raise ValueError("after the answer")


@view("/started-only")
async def started_only(scope, receive, send):
    await start(send)


@view("/nothing")
async def nothing(scope, receive, send):
    pass


@view("/wrong")
async def wrong(scope, receive, send):
    """Sends these events, and answers with the error."""
    events = eval(scope["query_string"].decode())
    try:
        for event in events:
            await send(event)
    except Exception as error:
        await answer(send, f"{type(error).__name__}: {error}")


@view("/length")
async def length(scope, receive, send):
    """Announces a length, and sends pieces of these lengths."""
    announced, *sent = map(int, scope["query_string"].split(b","))
    await start(send, 200, [(b"content-length", b"%d" % announced)])
    for piece in sent[:-1]:
        await send({"type": "http.response.body", "body": b"x" * piece, "more_body": True})
    await send({"type": "http.response.body", "body": b"x" * sent[-1]})


@view("/wait")
async def wait(scope, receive, send):
    """Waits until nobody waits for the answer."""
    assert (await receive())["type"] == "http.request"
    print("waits", flush=True)
    event = await receive()
    try:
        await answer(send, b"late")
        error = "none"
    except OSError as raised:
        error = type(raised).__name__
    print("left:", event["type"], error, flush=True)


@view("/after")
async def after(scope, receive, send):
    """Goes on after the answer."""
    await answer(send, b"answered")
    event = await receive()
    while not EVENTS:
        await asyncio.sleep(0.001)
    print("after:", event["type"], EVENTS.pop(), flush=True)


@view("/release")
async def release(scope, receive, send):
    EVENTS.append(scope["query_string"].decode())
    await answer(send, b"released")


@view("/until")
async def until(scope, receive, send):
    while not EVENTS:
        await asyncio.sleep(0.001)
    await answer(send, EVENTS.pop())


@view("/tasks")
async def tasks(scope, receive, send):
    """What applications do with tasks: all of it must work on `receive` and `send`."""
    event = await asyncio.wait_for(asyncio.create_task(receive()), 5)
    listening = asyncio.ensure_future(receive())
    await asyncio.sleep(0)
    listening.cancel()
    (cancelled,) = await asyncio.gather(listening, return_exceptions=True)
    await asyncio.gather(start(send), asyncio.sleep(0))
    try:
        await asyncio.wait_for(receive(), 0.01)
        late = None
    except asyncio.TimeoutError:
        late = "late"
    told = [event["type"], type(cancelled).__name__, late, asyncio.current_task() is not None]
    body = json.dumps(told).encode()
    await asyncio.create_task(send({"type": "http.response.body", "body": body}))


@view("/context")
async def context(scope, receive, send):
    before = NOTE.get()
    NOTE.set("mine")
    await asyncio.sleep(0)
    loop = asyncio.get_running_loop()
    thread = await loop.run_in_executor(None, lambda: "a thread")
    await answer(send, [before, NOTE.get(), thread])


@view("/print")
async def prints(scope, receive, send):
    print("before")
    await asyncio.sleep(0.001)
    print("after", file=sys.stderr)
    await answer(send, b"printed")


@view("/state")
async def state(scope, receive, send):
    before = dict(scope["state"])
    scope["state"]["mine"] = 1
    await answer(send, before)


@view("/cancel")
async def cancels(scope, receive, send):
    asyncio.current_task().cancel()
    await asyncio.sleep(1)


@view("/exit")
async def exits(scope, receive, send):
    if scope["query_string"]:
        await asyncio.sleep(0)
    sys.exit(3)


@view("/asks-often")
async def asks_often(scope, receive, send):
    """Looks again and again for a moment whether anything has come, as one does that streams."""
    await receive()

    async def look():
        listening = asyncio.ensure_future(receive())
        await asyncio.sleep(0)
        listening.cancel()
        await asyncio.gather(listening, return_exceptions=True)

    def futures():
        gc.collect()
        return sum(isinstance(known, asyncio.Future) for known in gc.get_objects())

    before = futures()
    for _ in range(500):
        await look()
    await answer(send, futures() - before)


@view("/cancels-early")
async def cancels_early(scope, receive, send):
    """A task that is cancelled before it begins has taken nothing."""
    loop = asyncio.get_running_loop()
    listening = asyncio.Task(receive(), loop=loop)
    listening.cancel()
    await asyncio.gather(listening, return_exceptions=True)
    await whole_body(scope, receive, send)


# --- websockets -------------------------------------------------------------------------------


async def connected(receive):
    event = await receive()
    assert event == {"type": "websocket.connect"}, event


@view("/echo")
async def echo(scope, receive, send):
    await connected(receive)
    subprotocol = (scope["subprotocols"] or [None])[-1]
    headers = [(b"x-offered", b"%d" % len(scope["subprotocols"]))]
    await send({"type": "websocket.accept", "subprotocol": subprotocol, "headers": headers})
    while (event := await receive())["type"] == "websocket.receive":
        if "text" in event:
            await send({"type": "websocket.send", "text": event["text"]})
        else:
            await send({"type": "websocket.send", "bytes": event["bytes"]})
    print("closed", event["code"], event["reason"], flush=True)
    assert await receive() == event
    try:
        await send({"type": "websocket.send", "text": "late"})
    except OSError as error:
        print("late:", type(error).__name__, flush=True)


@view("/ws-scope")
async def websocket_scope(scope, receive, send):
    await connected(receive)
    await send({"type": "websocket.accept"})
    await send({"type": "websocket.send", "text": json.dumps(shown(scope))})


@view("/refuse")
async def refuse(scope, receive, send):
    await connected(receive)
    await send({"type": "websocket.close", "code": 4000})


@view("/deny")
async def deny(scope, receive, send):
    await connected(receive)
    headers = [(b"content-type", b"text/plain"), (b"www-authenticate", b"Basic")]
    await send({"type": "websocket.http.response.start", "status": 401, "headers": headers})
    await send({"type": "websocket.http.response.body", "body": b"who ", "more_body": True})
    await send({"type": "websocket.http.response.body", "body": b"are you?"})


@view("/close")
async def close(scope, receive, send):
    await connected(receive)
    await send({"type": "websocket.accept"})
    code, _, reason = scope["query_string"].decode().partition(",")
    await send({"type": "websocket.close", "code": int(code), "reason": reason})
    event = await receive()
    print("answered", event["code"], flush=True)


@view("/return")
async def returns(scope, receive, send):
    await connected(receive)
    await send({"type": "websocket.accept"})


@view("/ws-raise")
async def websocket_raises(scope, receive, send):
    await connected(receive)
    await send({"type": "websocket.accept"})
    raise ValueError("on purpose")


@view("/ws-raise-early")
async def websocket_raises_early(scope, receive, send):
    raise ValueError("on purpose")


@view("/ws-nothing")
async def websocket_nothing(scope, receive, send):
    pass


@view("/ws-wrong")
async def websocket_wrong(scope, receive, send):
    """Sends these events, and says what the last one raised."""
    await connected(receive)
    events = eval(scope["query_string"].decode())
    told = "nothing was raised"
    for event in events:
        try:
            await send(event)
        except Exception as error:
            told = f"{type(error).__name__}: {error}"
    if not any(event["type"] == "websocket.accept" for event in events):
        await send({"type": "websocket.accept"})
    await send({"type": "websocket.send", "text": told})


@view("/ws-slow")
async def slow(scope, receive, send):
    """Reads nothing before it is told to."""
    await connected(receive)
    await send({"type": "websocket.accept"})
    while not EVENTS:
        await asyncio.sleep(0.001)
    EVENTS.clear()
    count = 0
    while (event := await receive())["type"] == "websocket.receive":
        if event.get("text") == "count":
            await send({"type": "websocket.send", "text": str(count)})
        count += 1


@view("/ws-flood")
async def flood(scope, receive, send):
    await connected(receive)
    await send({"type": "websocket.accept"})
    for number in range(1000):
        await send({"type": "websocket.send", "bytes": bytes([number % 256]) * 10_000})
        print(f"flooded {number}", flush=True)


@view("/ws-slow-to-accept")
async def slow_to_accept(scope, receive, send):
    """Accepts when the client has left, and learns that by it."""
    await connected(receive)
    print("connecting", flush=True)
    while (await receive())["type"] != "websocket.disconnect":
        pass
    await send({"type": "websocket.accept"})


@view("/ws-wait")
async def websocket_waits(scope, receive, send):
    await connected(receive)
    print("connecting", flush=True)
    print("left", (await receive())["code"], flush=True)
