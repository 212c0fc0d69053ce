"""Users with a real browser: JupyterLab in Chromium, a window for each of them."""

from __future__ import annotations

import contextlib
import json
import shutil
import sys
import threading
import time
import uuid
from pathlib import Path
from typing import Any

from user import ABSENCE, Mortal, Seen

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "browser"))

from lab import Lab
from playwright.sync_api import Browser, Error, sync_playwright

FLAGS = (
    "--no-sandbox --disable-gpu --disable-quic --no-first-run --disable-background-networking "
    "--disable-component-update --disable-sync --disable-dev-shm-usage"
).split()

#: Tells of each save of a first notebook: before it is sent, and when it was acknowledged.
WATCH_SAVES = """
const ask = window.fetch;
window.fetch = async (what, options) => {
  const request = new Request(what, options);
  if (request.method !== "PUT" || !request.url.includes("/api/contents/default-"))
    return ask(request);
  const body = await request.clone().text();
  await window.noteSave("sent", body);
  const answer = await ask(request);
  if (answer.ok) await window.noteSave("saved", body);
  return answer;
};
"""


class Windows(threading.Thread):
    """One thread for all of them: a browser belongs to the thread that has started it."""

    def __init__(self, address: str, names: list[str], seen: Seen) -> None:
        super().__init__(name="windows", daemon=True)
        self.people = [Person(address, name, seen) for name in names]
        self.seen = seen
        self.stopping = threading.Event()

    def run(self) -> None:
        names = ("chromium", "chromium-browser", "google-chrome")
        path = next((found for name in names if (found := shutil.which(name))), None)
        try:
            with sync_playwright() as playwright:
                browser = playwright.chromium.launch(executable_path=path, args=FLAGS)
                while not self.stopping.is_set():
                    for person in self.people:
                        person.work(browser)
                for person in self.people:
                    person.finish(browser)
                browser.close()
        except Exception as error:
            self.seen.complain(f"the browser cannot go on: {error!r}")


class Person(Mortal):
    def __init__(self, address: str, name: str, seen: Seen) -> None:
        super().__init__(name, seen)
        self.url = f"http://{address}"
        self.lab: Lab | None = None
        self.at_work = threading.Event()
        self.born, self.count, self.sent = "", 0, 0
        #: The cells of the file as they were saved last, and by attempts after that.
        self.kept: list[str] | None = None
        self.attempts: list[list[str]] = []
        self.saves = 0
        self.worked_at = time.monotonic()

    def work(self, browser: Browser) -> None:
        try:
            self._work(self.lab or self._open(browser))
            self.worked_at = time.monotonic()
        except (Error, AssertionError) as error:
            self.seen.trouble(f"a window: {str(error).splitlines()[0]}")
            self._close()
            if time.monotonic() - self.worked_at > ABSENCE:
                self.seen.complain(f"{self.name}'s window has been kept out: {error}")
                self.worked_at = time.monotonic()

    def finish(self, browser: Browser) -> None:
        """Once more when all is quiet: what was counted is still there."""
        self._close()
        deadline = time.monotonic() + ABSENCE
        before = self.count
        while self.count == before:
            if time.monotonic() > deadline:
                self.seen.complain(f"{self.name}'s window does not come back")
                return
            self.work(browser)
        self._close()

    def _open(self, browser: Browser) -> Lab:
        context = browser.new_context(viewport={"width": 1200, "height": 800})
        context.add_cookies([{"name": "visitor", "value": self.name, "url": self.url}])
        page = context.new_page()
        page.expose_function("noteSave", self._note)
        page.add_init_script(WATCH_SAVES)
        self.lab = Lab(page)
        page.set_default_timeout(20_000)
        page.goto(f"{self.url}/shell")
        page.wait_for_url(f"**/notebook/{self.name}/lab/**")
        self.lab.appears()
        self.lab.dismiss_news()
        return self.lab

    def _close(self) -> None:
        if self.lab is not None:
            context, self.lab = self.lab.page.context, None
            # A dialog that somebody was about to close goes with it.
            with contextlib.suppress(Error):
                context.close()

    def _work(self, lab: Lab) -> None:
        deaths = self.deaths()
        if not self.born:
            born = uuid.uuid4().hex
            if born in lab.run(f"born, n = {born!r}, 0\nborn"):
                self.born, self.count, self.sent = born, 0, 0
        self.sent += 1
        mark = uuid.uuid4().hex
        told = lab.run(f"n += 1\nprint(owner, born, n, {mark!r})").split()
        if len(told) != 4:
            if "NameError" in " ".join(told):
                self.mourn(deaths, "the one in the window knows nothing")
                self.born = ""
            raise AssertionError(f"counting in a window: {' '.join(told)[:60]}")
        owner, born, count = told[0], told[1], int(told[2])
        # A page that has just come back may still be laid out: this is what another cell has said.
        if told[3] != mark:
            raise AssertionError("a window shows another cell")
        if owner != self.name or born != self.born:
            self.seen.complain(f"{self.name}'s window shows a kernel of {owner}")
        if not self.count < count <= self.count + self.sent:
            self.seen.complain(f"{self.name}'s window shows {count} after {self.count}")
        self.count, self.sent = count, 0
        self.seen.add(counts=1)
        self.at_work.set()
        saves = self.saves
        lab.page.keyboard.press("Control+s")
        deadline = time.monotonic() + 10
        while self.saves == saves and time.monotonic() < deadline:
            lab.page.wait_for_timeout(50)

    # --- what JupyterLab saves, and what it is told

    def _note(self, what: str, sent: str) -> None:
        cells = [text(cell) for cell in json.loads(sent)["content"]["cells"]]
        if what == "sent":
            self.attempts.append(cells)
        elif what == "saved":
            self.kept, self.attempts = cells, []
            self.saves += 1
            self.seen.add(saves=1)

    def check(self, folder: Path) -> None:
        files = list(folder.glob("default-*.ipynb"))
        if len(files) != 1:
            self.seen.complain(f"{self.name} has {len(files)} first notebooks: {files}")
            return
        try:
            cells = [text(cell) for cell in json.loads(files[0].read_text())["cells"]]
        except ValueError as error:
            self.seen.complain(f"{self.name}'s notebook is torn: {error}")
            return
        if self.kept is not None and cells != self.kept and cells not in self.attempts:
            wanted = [len(one) for one in [self.kept or [], *self.attempts]]
            self.seen.complain(f"{self.name}'s notebook has {len(cells)} cells, of {wanted}")


def text(cell: dict[str, Any]) -> str:
    source: str | list[str] = cell["source"]
    return source if isinstance(source, str) else "".join(source)
