"""The Starlette example: two people chat, one is refused, one leaves, a reload tells why."""

from __future__ import annotations

import urllib.request
from collections.abc import Callable

import pytest
from example import PATIENCE, Example
from websockets.exceptions import ConnectionClosed, InvalidStatus
from websockets.sync.client import ClientConnection, connect


@pytest.fixture
def site(example: Callable[[str], Example]) -> Example:
    return example("starlette").serve(
        PERIJOVE_SITE__WORKERS="1", PERIJOVE_SITE__WEBSOCKET_TIME="0s"
    )


def enter(site: Example, name: str) -> ClientConnection:
    return connect(site.url.replace("http", "ws") + f"/chat?name={name}", open_timeout=PATIENCE)


def test_a_chat(site: Example) -> None:
    with urllib.request.urlopen(site.url, timeout=PATIENCE) as page:
        assert b"new WebSocket" in page.read()
    with pytest.raises(InvalidStatus) as refused:
        enter(site, "")
    assert refused.value.response.status_code == 403
    with enter(site, "ada") as ada:
        assert ada.recv(PATIENCE) == "ada is here"
        with enter(site, "bob") as bob:
            assert ada.recv(PATIENCE) == bob.recv(PATIENCE) == "bob is here"
            bob.send("hello")
            assert ada.recv(PATIENCE) == bob.recv(PATIENCE) == "bob: hello"
        assert ada.recv(PATIENCE) == "bob has left"


def test_a_reload_tells_why(site: Example) -> None:
    with enter(site, "ada") as ada:
        assert ada.recv(PATIENCE) == "ada is here"
        site.tell("reload")
        with pytest.raises(ConnectionClosed) as closed:
            ada.recv(PATIENCE)
        assert closed.value.rcvd is not None
        assert closed.value.rcvd.code == 1001
    with enter(site, "ada") as ada:
        assert ada.recv(PATIENCE) == "ada is here"
