"""A browser, a window for each person in it, and sites served by perijove."""

from __future__ import annotations

import shutil
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

import pytest
from lab import OUT
from playwright.sync_api import Browser, BrowserContext, Error, Page, sync_playwright
from site_under_test import TREE, Site

#: For a browser in a container, with nothing of its own to fetch.
FLAGS = (
    "--no-sandbox --disable-gpu --disable-quic --no-first-run --disable-background-networking "
    "--disable-component-update --disable-sync --disable-dev-shm-usage"
).split()

#: On a test: that it has failed.
FAILED = pytest.StashKey[bool]()

#: The program as cargo builds it, and as the wheel installs it. The sites run in another
#: environment, which has no perijove in it.
BUILT = TREE / "target/release/perijove"
INSTALLED = TREE / "target/venvs/wheel/bin/perijove"


@pytest.fixture(scope="session")
def browser() -> Iterator[Browser]:
    names = ("chromium", "chromium-browser", "google-chrome")
    path = next((found for name in names if (found := shutil.which(name))), None)
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=path, args=FLAGS)
        yield browser
        browser.close()


Prepare = Callable[[Site], object]


@contextmanager
def serving() -> Iterator[Callable[..., Site]]:
    """Serves a site, the demo by default; whatever happens, nothing of it is left behind."""
    sites: list[Site] = []
    # Not tmp_path: names of sockets end at 107 bytes.
    with tempfile.TemporaryDirectory(prefix="pj") as folder:

        def start(
            command: Path = BUILT,
            example: str = "pyramid-site",
            prepare: Prepare = lambda site: None,
            **environment: str,
        ) -> Site:
            site = Site(Path(folder), command, example)
            prepare(site)
            site.environment |= environment
            site.listen = environment.get("PERIJOVE_LISTEN", site.listen)
            sites.append(site)
            return site.start()

        yield start
        for site in sites:
            site.stop()
            assert site.leftovers() == []


@pytest.fixture
def start() -> Iterator[Callable[..., Site]]:
    """A site for one test."""
    with serving() as start:
        yield start


@pytest.fixture(scope="module")
def start_once() -> Iterator[Callable[..., Site]]:
    """A site for all tests of a file."""
    with serving() as start:
        yield start


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(item: pytest.Item) -> Any:
    report = yield
    if report.when == "call" and report.failed:
        item.stash[FAILED] = True
    return report


@pytest.fixture
def window(browser: Browser, request: pytest.FixtureRequest) -> Iterator[Callable[..., Page]]:
    """A window of one's own: no cookie is shared with the others."""
    contexts: list[BrowserContext] = []

    def window(**options: Any) -> Page:
        context = browser.new_context(viewport={"width": 1280, "height": 860}, **options)
        contexts.append(context)
        return context.new_page()

    yield window
    pages = [page for context in contexts for page in context.pages]
    if FAILED in request.node.stash:
        # What was to be seen then.
        for number, page in enumerate(pages):
            with suppress(Error):
                page.screenshot(path=OUT / f"failed-{request.node.name}-{number}.png", timeout=5000)
    for context in contexts:
        context.close()
