"""The ASGI application that is measured: small, large and uploaded bodies, websocket echo."""

LARGE = b"x" * 102400
HEADERS = [(b"content-type", b"text/plain")]


async def application(scope, receive, send):
    kind = scope["type"]
    if kind == "http":
        await answer(scope["path"], receive, send)
    elif kind == "websocket":
        await echo(receive, send)
    else:
        raise ValueError("no lifespan")


async def answer(path, receive, send):
    if path == "/large":
        body = LARGE
    elif path == "/upload":
        length, more = 0, True
        while more:
            event = await receive()
            length += len(event["body"])
            more = event["more_body"]
        body = b"%d\n" % length
    else:
        body = b"Hello, World!"
    headers = [*HEADERS, (b"content-length", b"%d" % len(body))]
    await send({"type": "http.response.start", "status": 200, "headers": headers})
    await send({"type": "http.response.body", "body": body})


async def echo(receive, send):
    await receive()
    await send({"type": "websocket.accept"})
    while (event := await receive())["type"] == "websocket.receive":
        text = event.get("text")
        if text is not None:
            await send({"type": "websocket.send", "text": text})
        else:
            await send({"type": "websocket.send", "bytes": event["bytes"]})
