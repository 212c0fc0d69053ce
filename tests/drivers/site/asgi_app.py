"""The behaviours that every ASGI driver is asked for, one to a path."""

import asyncio
import contextlib
import hashlib
import json
import os
import sys
from pathlib import Path

SIGNS = Path(os.environ["SIGNS"])
print("loaded", flush=True)


async def application(scope, receive, send):
    if scope["type"] == "lifespan":
        return await lifespan(scope, receive, send)
    if scope["type"] == "websocket":
        return await websocket(scope, receive, send)
    name = scope["path"].split("/")[1] or "index"
    view = globals().get(f"show_{name}", show_environ)
    return await view(scope, receive, send)


async def lifespan(scope, receive, send):
    while True:
        message = await receive()
        if message["type"] == "lifespan.startup":
            scope.get("state", {})["started"] = True
            await send({"type": "lifespan.startup.complete"})
        else:
            (SIGNS / "shut-down").touch()
            await send({"type": "lifespan.shutdown.complete"})
            return


async def websocket(scope, receive, send):
    assert (await receive())["type"] == "websocket.connect"
    await send({"type": "websocket.accept", "subprotocol": (scope["subprotocols"] or [None])[0]})
    while (message := await receive())["type"] == "websocket.receive":
        if message.get("bytes") is not None:
            await send({"type": "websocket.send", "bytes": message["bytes"]})
        elif message["text"] == "close":
            await send({"type": "websocket.close", "code": 4001, "reason": "asked"})
            return
        else:
            await send({"type": "websocket.send", "text": message["text"]})


async def begin(send, status=200, fields=()):
    fields = [(name.encode(), value.encode()) for name, value in fields]
    await send({"type": "http.response.start", "status": status, "headers": fields})


async def piece(send, body, is_last=False):
    await send({"type": "http.response.body", "body": body, "more_body": not is_last})


async def answer(send, value):
    body = json.dumps(value).encode()
    fields = [("content-type", "application/json"), ("content-length", str(len(body)))]
    await begin(send, 200, fields)
    await piece(send, body, is_last=True)


async def show_environ(scope, receive, send):
    fields = [(name.decode("latin-1"), value.decode("latin-1")) for name, value in scope["headers"]]
    client = scope["client"]
    await answer(
        send,
        {
            "REQUEST_METHOD": scope["method"],
            "wsgi.url_scheme": scope["scheme"],
            "PATH_INFO": scope["path"].encode().decode("latin-1"),
            "RAW_URI": scope["raw_path"].decode("latin-1"),
            "QUERY_STRING": scope["query_string"].decode("latin-1"),
            "SCRIPT_NAME": scope.get("root_path", ""),
            "REMOTE_ADDR": client[0] if client else "",
            "SERVER_PORT": str(scope["server"][1]),
            **{f"HTTP_{name.upper().replace('-', '_')}": value for name, value in fields},
        },
    )


async def show_process(scope, receive, send):
    command = Path("/proc/self/cmdline").read_bytes().decode().split("\0")
    told = {"pid": os.getpid(), "environment": dict(os.environ), "command": command}
    told |= {"uid": os.getuid(), "groups": os.getgroups(), "argv": sys.argv}
    await answer(send, told)


async def show_upload(scope, receive, send):
    digest, length, is_more = hashlib.sha256(), 0, True
    while is_more:
        message = await receive()
        digest.update(message.get("body", b""))
        length += len(message.get("body", b""))
        is_more = message.get("more_body", False)
    await answer(send, {"length": length, "digest": digest.hexdigest()})


async def show_stream(scope, receive, send):
    await begin(send)
    await piece(send, b"first\n")
    await wait_for(scope["query_string"].decode())
    await piece(send, b"last\n", is_last=True)


async def show_large(scope, receive, send):
    await begin(send)
    block = bytes(range(256)) * 256
    for _ in range(320):
        await piece(send, block)
    await piece(send, b"", is_last=True)


async def show_file(scope, receive, send):
    body = (SIGNS / "download").read_bytes()
    await begin(send, 200, [("content-length", str(len(body)))])
    await piece(send, body, is_last=True)


async def show_status(scope, receive, send):
    status = int(scope["query_string"].split(b"+")[0])
    await begin(send, status, [("etag", '"x"')])
    await piece(send, b"", is_last=True)


async def show_cookies(scope, receive, send):
    await begin(send, 200, [("set-cookie", "a=1"), ("set-cookie", "b=2"), ("x-way", "out")])
    await piece(send, b"two", is_last=True)


async def show_broken(scope, receive, send):
    raise RuntimeError("broken before the answer")


async def show_cut(scope, receive, send):
    await begin(send)
    await piece(send, b"begun\n" * 1000)
    raise RuntimeError("broken in the middle")


async def show_endless(scope, receive, send):
    gone = asyncio.ensure_future(until_gone(receive))
    await begin(send)
    try:
        while not gone.done():
            await piece(send, b"more\n" * 1000)
            await asyncio.sleep(0.01)
    finally:
        (SIGNS / scope["query_string"].decode()).touch()
        gone.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await gone


async def until_gone(receive):
    while (await receive())["type"] != "http.disconnect":
        pass


async def show_slow(scope, receive, send):
    begun, end = scope["query_string"].decode().split("&")
    (SIGNS / begun).touch()
    await wait_for(end)
    await answer(send, {"pid": os.getpid()})


async def show_print(scope, receive, send):
    query = scope["query_string"].decode()
    print("printed:", query, flush=True)
    print("complained:", query, flush=True)
    await answer(send, None)


async def wait_for(sign):
    async with asyncio.timeout(60) if hasattr(asyncio, "timeout") else contextlib.nullcontext():
        while not (SIGNS / sign).exists():
            await asyncio.sleep(0.01)
