"""The same small site in each framework of ASGI, on uvloop and on asyncio's own loop."""

from __future__ import annotations

import json
import time
import urllib.error
import urllib.request
from collections.abc import Callable

import pytest
from example import PATIENCE, Example
from websockets.exceptions import InvalidStatus
from websockets.sync.client import connect

FASTAPI = """
import asyncio
from fastapi import FastAPI, Request, WebSocket
from fastapi.responses import StreamingResponse

app = FastAPI()

@app.get("/loop")
async def loop():
    return type(asyncio.get_running_loop()).__module__

@app.get("/thread/{number}")
def thread(number: int):
    return {"number": number}

@app.post("/length")
async def length(request: Request):
    return len(await request.body())

@app.get("/stream")
async def stream():
    async def pieces():
        for number in range(5):
            yield f"{number} "
            await asyncio.sleep(0)
    return StreamingResponse(pieces())

@app.get("/raise")
async def fail():
    raise ValueError("on purpose")

@app.websocket("/echo")
async def echo(websocket: WebSocket):
    await websocket.accept(subprotocol="b")
    while True:
        message = await websocket.receive()
        if message["type"] == "websocket.disconnect":
            break
        if "text" in message:
            await websocket.send_text(message["text"])
        else:
            await websocket.send_bytes(message["bytes"])
"""

STARLETTE = """
import asyncio
from starlette.applications import Starlette
from starlette.concurrency import run_in_threadpool
from starlette.middleware.base import BaseHTTPMiddleware
from starlette.responses import JSONResponse, StreamingResponse
from starlette.routing import Route, WebSocketRoute

async def loop(request):
    return JSONResponse(type(asyncio.get_running_loop()).__module__)

async def thread(request):
    number = await run_in_threadpool(lambda: int(request.path_params["number"]))
    return JSONResponse({"number": number})

async def length(request):
    return JSONResponse(len(await request.body()))

async def stream(request):
    async def pieces():
        for number in range(5):
            yield f"{number} "
            await asyncio.sleep(0)
    return StreamingResponse(pieces())

async def fail(request):
    raise ValueError("on purpose")

async def echo(websocket):
    await websocket.accept(subprotocol="b")
    while (message := await websocket.receive())["type"] == "websocket.receive":
        await websocket.send({**message, "type": "websocket.send"})

async def passing(request, call_next):
    # Task groups and cancel scopes of anyio around the whole request.
    return await call_next(request)

app = Starlette(routes=[
    Route("/loop", loop),
    Route("/thread/{number}", thread),
    Route("/length", length, methods=["POST"]),
    Route("/stream", stream),
    Route("/raise", fail),
    WebSocketRoute("/echo", echo),
])
app.add_middleware(BaseHTTPMiddleware, dispatch=passing)
"""

QUART = """
import asyncio
from quart import Quart, request, websocket

app = Quart(__name__)

@app.get("/loop")
async def loop():
    return f'"{type(asyncio.get_running_loop()).__module__}"'

@app.get("/thread/<int:number>")
def thread(number):
    return {"number": number}

@app.post("/length")
async def length():
    return str(len(await request.get_data()))

@app.get("/stream")
async def stream():
    async def pieces():
        for number in range(5):
            yield f"{number} "
            await asyncio.sleep(0)
    return pieces()

@app.get("/raise")
async def fail():
    raise ValueError("on purpose")

@app.websocket("/echo")
async def echo():
    await websocket.accept(subprotocol="b")
    while True:
        await websocket.send(await websocket.receive())
"""

CHANNELS = """
import asyncio
import django
from django.conf import settings

settings.configure(
    ALLOWED_HOSTS=["*"],
    ROOT_URLCONF="urls",
    SECRET_KEY="none",
    LOGGING={
        "version": 1,
        "disable_existing_loggers": False,
        "handlers": {"console": {"class": "logging.StreamHandler"}},
        "root": {"handlers": ["console"]},
    },
)
django.setup()

from channels.generic.websocket import AsyncWebsocketConsumer
from channels.routing import ProtocolTypeRouter, URLRouter
from django.core.asgi import get_asgi_application
from django.urls import path

class Echo(AsyncWebsocketConsumer):
    async def connect(self):
        await self.accept(subprotocol="b")

    async def receive(self, text_data=None, bytes_data=None):
        await self.send(text_data=text_data, bytes_data=bytes_data)

app = ProtocolTypeRouter({
    "http": get_asgi_application(),
    "websocket": URLRouter([path("echo", Echo.as_asgi())]),
})
"""

URLS = """
import asyncio
from django.http import JsonResponse, StreamingHttpResponse
from django.urls import path
from django.views.decorators.csrf import csrf_exempt

async def loop(request):
    return JsonResponse(type(asyncio.get_running_loop()).__module__, safe=False)

def thread(request, number):
    return JsonResponse({"number": number})

@csrf_exempt
def length(request):
    return JsonResponse(len(request.body), safe=False)

async def stream(request):
    async def pieces():
        for number in range(5):
            yield f"{number} "
            await asyncio.sleep(0)
    return StreamingHttpResponse(pieces())

def fail(request):
    raise ValueError("on purpose")

urlpatterns = [
    path("loop", loop),
    path("thread/<int:number>", thread),
    path("length", length),
    path("stream", stream),
    path("raise", fail),
]
"""

SITES = {
    "fastapi": {"app.py": FASTAPI},
    "starlette": {"app.py": STARLETTE},
    "quart": {"app.py": QUART},
    "channels": {"app.py": CHANNELS, "urls.py": URLS},
}

#: In the site's folder it stands before the one that is installed.
NO_UVLOOP = {"uvloop.py": "raise ImportError('not here')"}


def ask(site: Example, path: str, body: bytes | None = None) -> tuple[int, str]:
    request = urllib.request.Request(site.url + path, data=body)
    try:
        with urllib.request.urlopen(request, timeout=PATIENCE) as answer:
            return answer.status, answer.read().decode()
    except urllib.error.HTTPError as error:
        with error:
            return error.code, error.read().decode()


def logged(site: Example, text: str) -> None:
    """Waits until that stands in the log: it comes by way of the program."""
    until = time.monotonic() + PATIENCE
    while text not in site.log.read_text():
        assert time.monotonic() < until, site.log.read_text()
        time.sleep(0.05)


@pytest.mark.parametrize("loop", ["uvloop", "asyncio"])
@pytest.mark.parametrize("framework", SITES)
def test_it_runs(example: Callable[..., Example], framework: str, loop: str) -> None:
    files = SITES[framework] | (NO_UVLOOP if loop == "asyncio" else {})
    site = example("site", files).serve(PERIJOVE_SITE__WORKERS="1", PERIJOVE_SITE__APP="app:app")
    status, shown = ask(site, "/loop")
    assert (status, json.loads(shown).partition(".")[0]) == (200, loop)
    assert json.loads(ask(site, "/thread/7")[1]) == {"number": 7}
    assert ask(site, "/length", b"x" * 1_000_000) == (200, "1000000")
    assert ask(site, "/stream") == (200, "0 1 2 3 4 ")
    assert ask(site, "/raise")[0] == 500
    logged(site, "ValueError: on purpose")
    address = site.url.replace("http", "ws")
    with connect(f"{address}/echo", subprotocols=["a", "b"], open_timeout=PATIENCE) as websocket:  # type: ignore[list-item]
        assert websocket.subprotocol == "b"
        for message in ("hello", b"\0\xff", "x" * 100_000):
            websocket.send(message)
            assert websocket.recv(PATIENCE) == message
    with pytest.raises(InvalidStatus), connect(f"{address}/nothing", open_timeout=PATIENCE):
        pass
