"""The end of a notebook that nobody uses, as its pages tell it, and what puts it off."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

import pytest
from lab import PATIENCE, Classic, Lab, Notebook7
from member import Kernel, Member
from playwright.sync_api import Page, expect
from site_under_test import Site
from visitor import Visitor

Start = Callable[..., Site]
Window = Callable[[], Page]

#: Seconds: how long nobody may do anything, from when on the pages say so, and how long something
#: computes meanwhile.
IDLE, WARNING, BUSY = 16, 12, 48

#: Notebooks of a user's, and what computes in each.
NAMES = ["kernel", "terminal"]


class Watch:
    """Notes what perijove tells of each notebook, whenever that changes."""

    def __init__(self, site: Site) -> None:
        self.site = site
        self.seen: dict[str, list[tuple[float, Any]]] = {}
        self.is_over = threading.Event()
        self.thread = threading.Thread(target=self._look, daemon=True)
        self.thread.start()

    def of(self, name: str) -> list[tuple[float, Any]]:
        """Since when it was how, oldest first; once it has ended."""
        deadline = time.monotonic() + BUSY + 2 * IDLE + PATIENCE / 1000
        while self.seen[name][-1][1]["state"] != "absent":
            assert time.monotonic() < deadline, self.seen[name]
            time.sleep(0.2)
        return self.seen[name]

    def _look(self) -> None:
        while not self.is_over.wait(0.2):
            for name in NAMES:
                entry = self.site.notebook(f"user/{name}")
                told = {key: entry[key] for key in ("state", "busy", "warning", "reason")}
                history = self.seen.setdefault(name, [])
                if not history or history[-1][1] != told:
                    history.append((time.time(), told))


@contextmanager
def kept(site: Site, user: str) -> Iterator[None]:
    """Has a notebook kept for as long as a busy machine needs to open its pages."""
    member, is_over = Member(site.url, user), threading.Event()

    def keep() -> None:
        while not is_over.wait(2):
            with suppress(AssertionError):  # it does not run yet
                member.ask("POST", "-/keep", {})

    thread = threading.Thread(target=keep, daemon=True)
    thread.start()
    yield
    is_over.set()
    thread.join(10)


@pytest.fixture(scope="module")
def site(start_once: Start) -> Site:
    return start_once(
        PERIJOVE_NOTEBOOK__IDLE_TIMEOUT=f"{IDLE}s", PERIJOVE_NOTEBOOK__WARN_BEFORE=f"{WARNING}s"
    )


@pytest.fixture(scope="module")
def computing(site: Site) -> Iterator[tuple[Watch, float]]:
    """Two notebooks of a user's in which something computes, in a kernel and in a terminal, and
    nobody is connected; since when."""
    for name in NAMES:
        site.launch(f"user/{name}", {})
    for name in NAMES:
        site.wait(f"user/{name}", lambda entry: entry["state"] == "ready")
    member = Member(site.url, "user")
    kernel = member.ask("POST", "~kernel/api/kernels", {})["id"]
    terminal = member.ask("POST", "~terminal/api/terminals", {})["name"]
    page = Kernel(member, kernel, "~kernel/")
    with page.connected():
        assert page.run("import time; 6 * 7") == "42"
        page.send(f"time.sleep({BUSY})")
    with member.websocket(f"~terminal/terminals/websocket/{terminal}") as line:
        line.send(f'["stdin", "sleep {BUSY}\\r"]')
        line.recv(PATIENCE / 1000)
    watch = Watch(site)
    yield watch, time.time()
    watch.is_over.set()
    watch.thread.join(10)


@pytest.mark.usefixtures("computing")
def test_forgotten_tabs_are_warned_kept_saved_and_ended(site: Site, window: Window) -> None:
    user2 = Visitor(window(), site.url, "user2").sign_in()
    with kept(site, "user2"):
        lab = user2.open_shell()
        lab.dismiss_news()
        notebook, classic = _other_pages(site, user2.page)

    # Then nobody does anything; the tabs poll on. Each says what is coming, and can keep it.
    pages = {"lab": user2.page, "notebook-7": notebook, "nbclassic": classic}
    for name, page in pages.items():
        warning = page.locator("#perijove-warning")
        expect(warning).to_contain_text("Nobody has used this notebook", timeout=PATIENCE)
        Lab(page).screenshot(f"warning-{name}")
        warned = time.time()
        warning.get_by_role("button", name="Keep it").click()
        warning.wait_for(state="detached", timeout=PATIENCE)
        # Whole seconds are told.
        assert site.notebook("user2")["idle_at"] >= int(warned) + IDLE

    # Typed, not saved; and forgotten.
    cell = user2.page.locator(".jp-Notebook .jp-CodeCell").last
    cell.locator(".cm-content").click()
    user2.page.keyboard.insert_text("unsaved = 1")
    user2.page.locator("#perijove-warning").wait_for()
    entry = site.wait("user2", lambda entry: entry["state"] == "absent")
    asked: list[str] = []
    user2.page.on("request", lambda request: asked.append(request.url))
    warning = user2.page.locator("#perijove-warning")
    expect(warning).to_contain_text("This notebook has ended", timeout=PATIENCE)
    user2.page.wait_for_timeout(3000)
    lab.screenshot("ended")
    assert warning.get_by_role("button", name="Go on from there").count() == 1
    # The page does not ask without end for what is gone.
    assert sum("/api/contents" in url for url in asked) < 10, asked
    assert entry["reason"] == f"it was ended: nobody had used it for {IDLE} s"
    assert "unsaved = 1" in _first(site).read_text()


def _other_pages(site: Site, page: Page) -> tuple[Page, Page]:
    """The same user's notebook in Notebook 7 and in nbclassic, each with a file of its own."""
    for name in ("second", "third"):
        site.furnish("user2", {f"{name}.ipynb": _first(site).read_text()})
    notebook, classic = (page.context.new_page() for _ in range(2))
    notebook.goto(f"{site.url}/notebook/user2/notebooks/second.ipynb")
    Notebook7(notebook).appears()
    classic.goto(f"{site.url}/notebook/user2/nbclassic/notebooks/third.ipynb")
    Classic(classic).appears()
    return notebook, classic


def _first(site: Site) -> Path:
    (first,) = site.home("user2").glob("default-*.ipynb")
    return first


@pytest.mark.parametrize("name", NAMES)
def test_what_computes_in_silence_keeps_it_and_then_its_end_is_warned_of(
    computing: tuple[Watch, float], name: str
) -> None:
    watch, since = computing
    history = watch.of(name)
    while_busy = [told for at, told in history if at < since + BUSY - 2]
    assert all(told["state"] == "ready" and told["warning"] is None for told in while_busy)
    assert BUSY >= 3 * IDLE
    warned = next(at for at, told in history if (told["warning"] or {}).get("reason") == "idle")
    ended, last = history[-1]
    assert last["reason"] == f"it was ended: nobody had used it for {IDLE} s"
    assert ended - warned >= WARNING - 2
    assert ended - since >= BUSY + IDLE - 2


def test_the_file_menu_shuts_down_and_leads_back(site: Site, window: Window) -> None:
    user = Visitor(window(), site.url, "user").sign_in()
    with kept(site, "user"):
        user.open_shell().dismiss_news()
    user.page.on("dialog", lambda dialog: dialog.accept())
    user.page.locator("#jp-MainMenu").get_by_text("File", exact=True).click()
    user.page.locator('.lm-Menu [data-command="perijove:shut-down"]').click()
    user.page.wait_for_url(f"{site.url}/", timeout=PATIENCE)
    assert site.notebook("user")["state"] == "absent"

    # The same in Notebook 7.
    with kept(site, "user"):
        user.open_shell()
        user.page.goto(f"{site.url}/notebook/user/tree")
    user.page.locator("#menu-panel, #jp-MainMenu").get_by_text("File", exact=True).first.click()
    user.page.locator('.lm-Menu [data-command="perijove:home"]').wait_for()
