"""The original's two stories in a browser, on the original's demo: a shell, its variables, home."""

from __future__ import annotations

from collections.abc import Callable

import pytest
from lab import PATIENCE, Lab
from playwright.sync_api import Page
from site_under_test import Site

DEMO = "../python/pyramid_notebook/pyramid_notebook/demo"


@pytest.fixture
def demo(start: Callable[..., Site]) -> Site:
    return start(example=DEMO)


def open_shell(site: Site, page: Page, user: str, shell: str) -> Lab:
    """From the home page, with name and password in the address, as the original's tests do."""
    page.goto(site.url.replace("://", f"://{user}:password@"))
    page.get_by_text("pyramid_notebook test application").wait_for()
    page.locator(f"#{shell}").click()
    page.wait_for_url(f"**/notebook/{user}/lab/**", timeout=PATIENCE)
    return Lab(page).appears()


def go_home(site: Site, page: Page, user: str) -> None:
    page.goto(f"{site.url}/notebook/shutdown")
    page.get_by_text("pyramid_notebook test application").wait_for()
    assert page.request.get(f"{site.url}/notebook/{user}/api/kernels").status != 200


def test_a_shell_with_its_variables_and_back(demo: Site, window: Callable[[], Page]) -> None:
    page = window()
    lab = open_shell(demo, page, "user", "shell1")
    page.locator(".jp-RenderedMarkdown").get_by_text("Executing shell1 context").wait_for()
    assert lab.run("registry.settings['pyramid_notebook.kill_timeout']") == "'3600'"
    go_home(demo, page, "user")

    page = window()
    lab = open_shell(demo, page, "user2", "shell2")
    for name in ("a variable", "another variable", "a function"):
        page.locator(".jp-RenderedMarkdown").get_by_text(f"- {name}").wait_for()
    assert lab.run("print(a + b)") == "foobar"
    go_home(demo, page, "user2")
