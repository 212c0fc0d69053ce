"""The end of a notebook that nobody uses, as its pages tell it."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

from lab import PATIENCE
from playwright.sync_api import Page, expect
from site_under_test import Site
from visitor import Visitor

Start = Callable[..., Site]
Window = Callable[[], Page]

#: Seconds: how long nobody may do anything, and from when on the page says so.
IDLE, WARNING = 24, 14


def test_a_forgotten_tab_is_warned_kept_saved_and_ended(start: Start, window: Window) -> None:
    site = start(
        PERIJOVE_NOTEBOOK__IDLE_TIMEOUT=f"{IDLE}s", PERIJOVE_NOTEBOOK__WARN_BEFORE=f"{WARNING}s"
    )
    user = Visitor(window(), site.url, "user").sign_in()
    lab = user.open_shell()
    lab.dismiss_news()
    warning = user.page.locator("#perijove-warning")

    # A kernel that computes in silence is in use, for longer than anybody may be idle.
    assert "done" in lab.run(f"import time; time.sleep({IDLE + WARNING}); 'done'")
    assert warning.count() == 0

    # Then nobody does anything; the tab polls on. The page says what is coming, and can keep it.
    expect(warning).to_contain_text("Nobody has used this notebook", timeout=PATIENCE)
    lab.screenshot("warning")
    at = _notebook(site)["idle_at"]
    warning.get_by_role("button", name="Keep it").click()
    warning.wait_for(state="detached")
    assert _notebook(site)["idle_at"] > at

    # Typed, not saved; and forgotten.
    cell = user.page.locator(".jp-Notebook .jp-CodeCell").last
    cell.locator(".cm-content").click()
    user.page.keyboard.insert_text("unsaved = 1")
    warning.wait_for()
    user.page.wait_for_function(
        "fetch('../../../-/state').then(a => a.json()).then(s => s.state === 'absent')",
        timeout=PATIENCE,
    )
    notebook = _notebook(site)
    assert notebook["reason"] == f"it was ended: nobody had used it for {IDLE} s"
    files = [path.read_text() for path in (site.folder / "state").rglob("default-*.ipynb")]
    assert any("unsaved = 1" in text for text in files)


def test_the_file_menu_shuts_down_and_leads_back(start: Start, window: Window) -> None:
    site = start()
    user = Visitor(window(), site.url, "user").sign_in()
    lab = user.open_shell()
    lab.dismiss_news()
    user.page.on("dialog", lambda dialog: dialog.accept())
    user.page.locator("#jp-MainMenu").get_by_text("File", exact=True).click()
    user.page.locator('.lm-Menu [data-command="perijove:shut-down"]').click()
    user.page.wait_for_url(f"{site.url}/", timeout=PATIENCE)
    assert _notebook(site)["state"] == "absent"

    # The same in Notebook 7.
    user.open_shell()
    user.page.goto(f"{site.url}/notebook/user/tree")
    user.page.locator("#menu-panel, #jp-MainMenu").get_by_text("File", exact=True).first.click()
    user.page.locator('.lm-Menu [data-command="perijove:home"]').wait_for()


def _notebook(site: Site) -> Any:
    return json.loads(site.tell("notebook", "status", "user", "--json"))
