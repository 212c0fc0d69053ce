"""What a person does on the demo site, and what somebody else may try on their notebook."""

from __future__ import annotations

import time
from collections.abc import Callable
from contextlib import closing
from http.client import HTTPConnection
from urllib.parse import urljoin, urlsplit

from lab import PATIENCE, Lab
from playwright.sync_api import Page
from websockets.exceptions import ConnectionClosed
from websockets.sync.client import ClientConnection, connect


class Visitor:
    """Somebody with a browser window of their own."""

    def __init__(self, page: Page, url: str, name: str) -> None:
        self.page, self.url, self.name = page, url, name
        page.set_default_timeout(PATIENCE)

    def sign_in(self) -> Visitor:
        self.page.goto(f"{self.url}/login")
        self.page.get_by_label("Name").fill(self.name)
        self.page.get_by_label("Password").fill("password")
        self.page.locator("main").get_by_role("button", name="Sign in").click()
        self.page.get_by_role("button", name="Sign out").wait_for()
        return self

    def open_shell(self, link: str = "Open shell") -> Lab:
        """Click, and wait until JupyterLab is there."""
        self.page.get_by_role("link", name=link, exact=True).first.click()
        self.page.wait_for_url(f"**/notebook/{self.name}/lab/**", timeout=PATIENCE)
        return Lab(self.page).appears()

    def status(self, path: str, method: str = "GET") -> int:
        """The status of one request, with this visitor's cookies, following nothing."""
        headers = {"Origin": self.url} if method != "GET" else {}
        answer = self.page.request.fetch(
            urljoin(self.url, path), method=method, headers=headers, max_redirects=0
        )
        return answer.status

    def text(self, path: str) -> str:
        return self.page.request.get(urljoin(self.url, path)).text()

    def websocket(self, path: str, origin: str | None = None) -> int:
        """The status of a websocket's handshake, with this visitor's cookies."""
        connection = HTTPConnection(urlsplit(self.url).netloc, timeout=PATIENCE / 1000)
        headers = {
            "Connection": "Upgrade",
            "Upgrade": "websocket",
            "Sec-WebSocket-Version": "13",
            "Sec-WebSocket-Key": "AAAAAAAAAAAAAAAAAAAAAA==",
            "Origin": origin or self.url,
        }
        with closing(connection):
            connection.request("GET", path, headers=headers | self._cookie())
            return connection.getresponse().status

    def websocket_ends_after(self, path: str, event: Callable[[], object]) -> float:
        """Seconds from an event to the end of a websocket that was open by then."""
        with self._connect(path) as socket:
            event()
            begun = time.monotonic()
            while (now := time.monotonic() - begun) < PATIENCE / 1000:
                try:
                    socket.recv(timeout=0.1)
                except TimeoutError:
                    continue
                except ConnectionClosed:
                    return now
        raise AssertionError("the websocket is still open")

    def websocket_lasts(self, path: str, seconds: float) -> bool:
        """Whether a websocket is still open after so long."""
        end = time.monotonic() + seconds
        with self._connect(path) as socket:
            while (left := end - time.monotonic()) > 0:
                try:
                    socket.recv(timeout=left)
                except TimeoutError:
                    return True
                except ConnectionClosed:
                    return False
        return True

    def _connect(self, path: str) -> ClientConnection:
        return connect(
            urljoin(self.url.replace("http", "ws", 1), path),
            origin=self.url,
            additional_headers=self._cookie(),
            open_timeout=PATIENCE / 1000,
            proxy=None,
        )

    def _cookie(self) -> dict[str, str]:
        cookies = self.page.context.cookies(self.url)
        cookie = "; ".join(f"{each['name']}={each['value']}" for each in cookies)
        return {"Cookie": cookie} if cookie else {}
