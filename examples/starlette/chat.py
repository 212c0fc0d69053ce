"""A chat: a page and a websocket, with Starlette."""

from pathlib import Path

from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import FileResponse
from starlette.routing import Route, WebSocketRoute
from starlette.websockets import WebSocket

PAGE = Path(__file__).parent / "chat.html"
NAME = 40
MESSAGE = 1000

present: dict[WebSocket, str] = {}


async def page(_request: Request) -> FileResponse:
    return FileResponse(PAGE)


async def chat(websocket: WebSocket) -> None:
    name = websocket.query_params.get("name", "")[:NAME]
    if not name:
        # Before the handshake is accepted, this is an answer with status 403.
        await websocket.close()
        return
    await websocket.accept()
    present[websocket] = name
    await tell(f"{name} is here")
    try:
        async for text in websocket.iter_text():
            await tell(f"{name}: {text[:MESSAGE]}")
    finally:
        del present[websocket]
    await tell(f"{name} has left")


async def tell(text: str) -> None:
    """Tells everybody. Who leaves meanwhile hears nothing."""
    for websocket in list(present):
        try:
            await websocket.send_text(text)
        except OSError:
            continue


app = Starlette(routes=[Route("/", page), WebSocketRoute("/chat", chat)])
