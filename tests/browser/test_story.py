"""The whole story in a real browser: two people, their notebooks, and a program that is killed."""

from __future__ import annotations

import json
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from conftest import INSTALLED
from lab import OUT, PATIENCE, Lab
from playwright.sync_api import Page
from site_under_test import Site
from visitor import Visitor

Start = Callable[..., Site]
Window = Callable[[], Page]


def test_two_people_work_side_by_side_and_a_guest_looks_on(start: Start, window: Window) -> None:
    site = start()
    user = Visitor(window(), site.url, "user").sign_in()
    user2 = Visitor(window(), site.url, "user2").sign_in()
    user.page.screenshot(path=_out("site"), full_page=True)

    # Both have JupyterLab, with what the page they clicked on put there.
    lab = user.open_shell("Open shell with variables")
    assert "a variable from the site" in lab.greeting()
    assert lab.run("a + b") == "'foobar'"
    assert lab.run("session.query(Order).count()") == "465"
    # The site's own modules, as far as it has shared them.
    assert lab.run("import shop; shop.__name__, Order.__module__") == "('shop', 'shop.models')"
    lab.run(
        "import matplotlib.pyplot as plt\n"
        "plt.plot([order.total for order in session.query(Order)])\n"
        "plt.show()"
    )
    assert lab.picture_of_last_run().is_visible()
    lab.dismiss_news()
    lab.screenshot("notebook")

    user2.page.goto(f"{site.url}/orders/17")
    lab2 = user2.open_shell("Open a shell on this order")
    assert lab2.run("order.id, order.customer.name, len(order.lines)") == (
        "(17, 'Fatima Andersen', 3)"
    )
    # Jupyter knows them by the names the site gave them.
    for visitor in (user, user2):
        me = visitor.page.request.get(f"{site.url}/notebook/{visitor.name}/api/me").json()
        assert me["identity"]["username"] == visitor.name

    # Neither reaches the other, by page, by API or by websocket; guests and strangers reach nobody.
    guest = Visitor(window(), site.url, "guest").sign_in()
    stranger = Visitor(window(), site.url, "nobody")
    for visitor, owner in ((user, "user2"), (user2, "user"), (guest, "user"), (guest, "guest")):
        _is_refused(visitor, owner, {403})
    _is_refused(stranger, "user", {302, 303, 401, 403})
    for path in ("/shell1", "/shell2", "/orders/17/shell"):
        assert guest.status(path) == 403
        assert stranger.status(path) == 303
    # A page of another site cannot use what its visitor may use.
    kernel = _kernel(user)
    assert user.websocket(f"/notebook/user/api/kernels/{kernel}/channels") == 101
    assert (
        user.websocket(f"/notebook/user/api/kernels/{kernel}/channels", "http://evil.test") == 403
    )

    # One restarts the kernel: what was made is gone, what the site gave is there again.
    lab.run("mine = 1")
    lab.restart_kernel()
    assert "NameError" in lab.run("mine")
    assert lab.run("a") == "'foo'"

    # The other opens a terminal, in the own folder.
    lab2.open_terminal()
    lab2.type_into_terminal("echo $((6 * 7)) > made-by-terminal.txt")
    assert _wait_for(lambda: user2.text("/notebook/user2/files/made-by-terminal.txt") == "42\n")

    # One shuts down; the other's notebook does not mind.
    user.page.goto(site.url)
    user.page.get_by_role("button", name="Shut down my notebook").click()
    user.page.get_by_text("was shut down").wait_for()
    assert [entry["user"] for entry in _notebooks(site)] == ["user2"]
    assert user2.status("/notebook/user2/api/kernels") == 200


def test_a_killed_perijove_comes_back_and_nothing_is_lost(start: Start, window: Window) -> None:
    site = start()
    user = Visitor(window(), site.url, "user").sign_in()
    lab = user.open_shell()
    assert lab.run("kept = session.query(Customer).count(); kept") == "64"
    kernel = _kernel(user)

    site.kill()
    site.start()

    # The page was not reloaded: it reconnects by itself, to the kernel it had.
    assert lab.run("kept") == "64"
    assert _kernel(user) == kernel
    lab.screenshot("after-the-kill")


def test_a_user_struck_off_the_list_loses_the_notebook(start: Start, window: Window) -> None:
    site = start()
    user = Visitor(window(), site.url, "user").sign_in()
    user.open_shell()
    channels = f"/notebook/user/api/kernels/{_kernel(user)}/channels"
    assert user.websocket_lasts(channels, seconds=8)

    lasted = user.websocket_ends_after(channels, lambda: site.strike_off("user"))
    assert lasted < 6
    # A page's yes is remembered apart from the websocket's, for as long.
    assert _wait_for(lambda: user.status("/notebook/user/lab") == 403, 6 - lasted)
    assert user.status("/shell1") == 403


def test_the_installed_wheel_serves_the_same(start: Start, window: Window) -> None:
    site = start(INSTALLED)
    user = Visitor(window(), site.url, "user").sign_in()
    lab = user.open_shell()
    assert lab.run("session.query(Product).count()") == "20"


def test_a_site_written_for_the_original_runs_on_the_drop_in(start: Start, window: Window) -> None:
    site = start(example="pyramid-notebook-site")
    page = window()
    page.goto(f"{site.url}/login")
    page.locator("[name=username]").fill("maija@example.com")
    page.locator("[name=password]").fill("password")
    page.get_by_role("button").click()
    page.get_by_text("signed in: maija@example.com").wait_for()

    page.goto(f"{site.url}/admin/shell")
    page.wait_for_url("**/notebook/maija%40example%2Ecom/lab/**", timeout=PATIENCE)
    lab = Lab(page).appears()
    assert "the back office's database session" in lab.greeting()
    assert lab.run("sum(article.views for article in session.query(Article))") == "385"
    assert lab.run("request.host, registry.settings['pyramid_notebook.kill_timeout']") == (
        "('localhost:80', '3600')"
    )

    page.goto(f"{site.url}/notebook/shutdown")
    page.get_by_text("signed in: maija@example.com").wait_for()
    assert _notebooks(site) == []


def _is_refused(visitor: Visitor, owner: str, statuses: set[int]) -> None:
    base = f"/notebook/{owner}"
    for path in (f"{base}/lab", f"{base}/api/contents", f"{base}/files/x", f"{base}/api/nothing"):
        assert visitor.status(path) in statuses, (visitor.name, path)
    assert visitor.status(f"{base}/api/kernels", "POST") in statuses
    for path in (f"{base}/api/kernels/none/channels", f"{base}/terminals/websocket/1"):
        assert visitor.websocket(path) in statuses, (visitor.name, path)


def _kernel(visitor: Visitor) -> str:
    kernels = visitor.page.request.get(f"{visitor.url}/notebook/{visitor.name}/api/kernels").json()
    (kernel,) = kernels
    return str(kernel["id"])


def _notebooks(site: Site) -> list[dict[str, Any]]:
    told = json.loads(site.tell("notebook", "list", "--json"))
    notebooks: list[dict[str, Any]] = told["notebooks"] if isinstance(told, dict) else told
    return notebooks


def _wait_for(is_true: Callable[[], bool], seconds: float = PATIENCE / 1000) -> bool:
    deadline = time.monotonic() + seconds
    while not (there := is_true()) and time.monotonic() < deadline:
        time.sleep(0.2)
    return there


def _out(name: str) -> Path:
    OUT.mkdir(parents=True, exist_ok=True)
    return OUT / f"{name}.png"
