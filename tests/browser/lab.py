"""JupyterLab as a person uses it: wait until it is there, run cells, restart, open a terminal."""

from __future__ import annotations

import contextlib
import re
import time
from pathlib import Path

from playwright.sync_api import Locator, Page, TimeoutError, expect

OUT = Path(__file__).resolve().parents[1] / "out"

#: Milliseconds to wait for what a busy machine may take its time for.
PATIENCE = 90_000


#: The notebook that is seen: JupyterLab opens again what was open in its other tabs, too.
OPEN = ".jp-NotebookPanel:not(.lm-mod-hidden)"
CELLS = f"{OPEN} .jp-CodeCell >> visible=true"

#: Whether this page's notebook is connected to a kernel, as the server sees it.
HAS_KERNEL = """async () => {
  const config = JSON.parse(document.getElementById("jupyter-config-data").textContent);
  const sessions = await (await fetch(config.baseUrl + "api/sessions")).json();
  const file = decodeURIComponent(location.pathname.split("/").pop());
  return sessions.some(each => each.path.endsWith(file) && each.kernel.connections > 0);
}"""


class Lab:
    """One tab with a notebook open in it."""

    def __init__(self, page: Page) -> None:
        self.page = page
        page.set_default_timeout(PATIENCE)
        # While perijove is away JupyterLab says so, once; whoever works on has read it.
        away = page.locator(".jp-Dialog", has_text="Server Connection Error")
        # A notebook without a kernel's name in it asks for one.
        kernel = page.locator(".jp-Dialog", has_text="Select Kernel")
        page.add_locator_handler(kernel, lambda: kernel.locator(".jp-mod-accept").click())
        page.add_locator_handler(away, lambda: away.get_by_role("button").last.click())

    def appears(self) -> Lab:
        """Wait until the first notebook is open, and its kernel idle."""
        self.page.locator(CELLS).first.wait_for()
        # What is run before that starts another one.
        deadline = time.monotonic() + PATIENCE / 1000
        while not self._has_kernel():
            assert time.monotonic() < deadline, "the page has no kernel"
            # A dialog may ask for one: it is answered before anything is looked at.
            expect(self._status()).to_be_visible(timeout=PATIENCE)
        self.kernel_is_idle()
        self.page.locator(f"{OPEN} .jp-Spinner").wait_for(state="detached")
        return self

    def kernel_is_idle(self) -> None:
        expect(self._status()).to_have_attribute("data-status", "idle", timeout=PATIENCE)

    def greeting(self) -> str:
        rendered = self.page.locator(f"{OPEN} .jp-RenderedMarkdown")
        expect(rendered.first).to_have_text(re.compile(r"\S"), timeout=PATIENCE)
        return "\n".join(rendered.all_inner_texts())

    def run(self, code: str) -> str:
        """Type code into the last cell, run it, and read what it answers."""
        index = self.begin(code)
        cell = self.page.locator(CELLS).nth(index)
        expect(cell.locator(".jp-InputArea-prompt")).to_have_text(
            re.compile(r"\[\d+\]:"), timeout=PATIENCE
        )
        return "\n".join(cell.locator(".jp-OutputArea-output").all_inner_texts()).strip()

    def begin(self, code: str) -> int:
        """The same without waiting for an answer; which cell it is."""
        cell = self.page.locator(CELLS).last
        cell.locator(".cm-content").click()
        self.page.keyboard.insert_text(code)
        index = self.page.locator(CELLS).count() - 1
        self.page.keyboard.press("Shift+Enter")
        # What is run before the page has its kernel is forgotten.
        cell = self.page.locator(CELLS).nth(index)
        begun = re.compile(r"\[(\*|\d+)\]:")
        while not _has_text(cell.locator(".jp-InputArea-prompt"), begun):
            cell.locator(".cm-content").click()
            self.page.keyboard.press("Shift+Enter")
        return index

    def picture_of_last_run(self) -> Locator:
        return self.page.locator(".jp-OutputArea-output img").last

    def restart_kernel(self) -> None:
        self.page.locator('[data-command="notebook:restart-kernel"]').first.click()
        dialog = self.page.locator(".jp-Dialog", has_text="Restart Kernel")
        dialog.locator(".jp-mod-accept").click()
        dialog.wait_for(state="detached")
        self.kernel_is_idle()

    def open_terminal(self) -> None:
        self.page.locator("#jp-MainMenu").get_by_text("File", exact=True).click()
        self.page.locator('.lm-Menu [data-type="submenu"]', has_text="New").first.hover()
        self.page.locator('.lm-Menu [data-command="terminal:create-new"]').click()
        self._terminal().wait_for()

    def type_into_terminal(self, line: str) -> None:
        self._terminal().click()
        self.page.keyboard.type(line)
        self.page.keyboard.press("Enter")

    def dismiss_news(self) -> None:
        """JupyterLab asks once whether it may show news."""
        news = self.page.locator(".Toastify__toast", has_text="Jupyter news")
        if news.count():
            # It goes by itself, too.
            with contextlib.suppress(TimeoutError):
                news.get_by_role("button", name="No").first.click(timeout=5000)
            news.wait_for(state="detached")

    def screenshot(self, name: str) -> None:
        OUT.mkdir(parents=True, exist_ok=True)
        self.page.screenshot(path=OUT / f"{name}.png")

    def _has_kernel(self) -> bool:
        """Whether the page is connected to one; when it is not, a moment later."""
        if self.page.evaluate(HAS_KERNEL):
            return True
        self.page.wait_for_timeout(200)
        return False

    def _status(self) -> Locator:
        return self.page.locator(f"{OPEN} .jp-Notebook-ExecutionIndicator").first

    def _terminal(self) -> Locator:
        return self.page.locator(".jp-Terminal:not(.lm-mod-hidden) .xterm-screen")


def _has_text(place: Locator, text: re.Pattern[str]) -> bool:
    """Whether it has, within a moment."""
    try:
        expect(place).to_have_text(text, timeout=5000)
    except AssertionError:
        return False
    return True


class Notebook7(Lab):
    """The same in Notebook 7, which is made of JupyterLab's parts."""


class Classic:
    """A notebook in nbclassic."""

    def __init__(self, page: Page) -> None:
        self.page = page
        page.set_default_timeout(PATIENCE)

    def appears(self) -> Classic:
        self.page.locator(".code_cell").first.wait_for()
        self.page.locator("#kernel_indicator_icon.kernel_idle_icon").wait_for()
        return self

    def run(self, code: str) -> str:
        """Type code into the last cell, run it, and read what it answers."""
        cells = self.page.locator(".code_cell")
        index = cells.count() - 1
        cells.last.locator(".CodeMirror").click()
        self.page.keyboard.press("Control+A")
        self.page.keyboard.insert_text(code)
        self.page.keyboard.press("Shift+Enter")
        cell = cells.nth(index)
        expect(cell.locator(".input_prompt")).to_have_text(
            re.compile(r"In\s\[\d+\]:"), timeout=PATIENCE
        )
        return "\n".join(cell.locator(".output_subarea").all_inner_texts()).strip()

    def screenshot(self, name: str) -> None:
        OUT.mkdir(parents=True, exist_ok=True)
        self.page.screenshot(path=OUT / f"{name}.png")
