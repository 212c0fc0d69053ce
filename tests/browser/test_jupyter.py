"""Jupyter as its users know it: its three pages, what they have configured and added."""

from __future__ import annotations

import json
import shutil
import signal
import subprocess
from collections.abc import Callable
from typing import Any
from urllib.parse import urlsplit

import pytest
from lab import OUT, PATIENCE, Classic, Lab, Notebook7
from member import Member
from playwright.sync_api import Page, expect
from site_under_test import Site
from visitor import Visitor

Start = Callable[..., Site]
Window = Callable[[], Page]

#: Files of a user's own. What is to lose is the address, the token and the base URL.
OWN = {
    ".jupyter/jupyter_server_config.py": """
import os, sys
sys.path.append(os.path.expanduser("~/own"))
c.ServerApp.ip = "0.0.0.0"
c.ServerApp.port = 9
c.ServerApp.base_url = "/own/"
c.IdentityProvider.token = "own"
c.ServerApp.jpserver_extensions = {"own_extension": True}
c.ContentsManager.untitled_notebook = "Own name"
c.LabApp.custom_css = True
# One that dies sooner gets other ports, which no page that is open then knows.
c.KernelRestarter.stable_start_time = 1.0
c.ServerProxy.servers = {"own-app": {
    "command": [
        sys.executable, "-m", "streamlit", "run", os.path.expanduser("~/own/app.py"),
        "--server.port={port}", "--server.address=127.0.0.1", "--server.headless=true",
        "--browser.gatherUsageStats=false", "--server.fileWatcherType=none",
    ],
    "timeout": 60,
}}
""",
    ".jupyter/custom/custom.css": "body { outline: 3px solid rgb(1, 2, 3) }",
    ".jupyter/labconfig/page_config.json": json.dumps(
        {"ownWord": "by labconfig", "disabledExtensions": {"@jupyterlab/toc-extension": True}}
    ),
    "own/own_extension.py": """
from jupyter_server.base.handlers import JupyterHandler
from tornado import web

class Own(JupyterHandler):
    @web.authenticated
    def get(self):
        self.finish(f"for {self.current_user.username}")

def _jupyter_server_extension_points():
    return [{"module": "own_extension"}]

def _load_jupyter_server_extension(app):
    app.web_app.add_handlers(".*", [(app.base_url + "own-extension", Own)])
""",
    "own/app.py": """
import streamlit as st

count = st.session_state.setdefault("count", 0)
if st.button("More"):
    st.session_state["count"] = count = count + 1
st.write(f"pressed {count} times")
""",
    ".local/share/jupyter/labextensions/own-pages/package.json": json.dumps(
        {
            "name": "own-pages",
            "version": "1.0.0",
            "jupyterlab": {
                "extension": True,
                "_build": {"load": "static/entry.js", "extension": "./extension"},
            },
        }
    ),
    ".local/share/jupyter/labextensions/own-pages/static/entry.js": """
const plugin = { id: "own-pages:own", autoStart: true,
                 activate: () => { document.body.dataset.own = "by the user's own extension"; } };
(window._JUPYTERLAB = window._JUPYTERLAB || {})["own-pages"] = {
  init: () => {}, get: async () => () => ({ __esModule: true, default: plugin }),
};
""",
    "deno.ipynb": json.dumps(
        {
            "cells": [
                {
                    "cell_type": "code",
                    "execution_count": None,
                    "id": "a",
                    "metadata": {},
                    "outputs": [],
                    "source": "",
                }
            ],
            "metadata": {
                "kernelspec": {"name": "deno", "display_name": "Deno", "language": "typescript"}
            },
            "nbformat": 4,
            "nbformat_minor": 5,
        }
    ),
}

#: Pages of the site's own, in the place of Jupyter's.
TEMPLATES = {
    "page.html": '{% extends "templates/page.html" %}'
    '{% block meta %}{{ super() }}<meta name="of-the-site" content="page">{% endblock %}',
    "tree.html": '{% extends "templates/tree.html" %}'
    '{% block favicon %}{{ super() }}<meta name="of-the-site" content="tree">{% endblock %}',
}

#: A server that dies a moment after it was ready, each time.
SHORT_LIVED = """
import os, threading, traceback
from jupyter_server.base.handlers import APIVersionHandler

def die():
    try:
        raise RuntimeError("the disk of this laboratory is gone")
    except RuntimeError:
        traceback.print_exc()
    os._exit(3)

def get(self, answer=APIVersionHandler.get):
    threading.Timer(2, die).start()
    return answer(self)

APIVersionHandler.get = get
"""


def furnish(site: Site) -> None:
    site.set(
        'arguments = ["--ContentsManager.untitled_directory=Box"]\n'
        'allow-origin = ["https://elsewhere.example"]\n'
        'limits = { memory = "1500M" }\n'
    )
    site.furnish("user", OWN)
    templates = site.root / "templates"
    templates.mkdir()
    for name, text in TEMPLATES.items():
        (templates / name).write_text(text)


@pytest.fixture(scope="module")
def site(start_once: Start) -> Site:
    site = start_once(prepare=furnish)
    # In the background; what becomes of it is looked at in the end.
    site.launch("user2", {})
    site.wait("user2", lambda entry: entry["state"] == "ready")
    site.furnish("user2", {".jupyter/jupyter_server_config.py": SHORT_LIVED})
    site.launch("user2", {"anything": "else"})
    return site


@pytest.fixture
def user(site: Site, window: Window) -> Visitor:
    """Somebody whose notebook runs, with nothing open in it."""
    shutil.rmtree(site.home("user") / ".jupyter/lab/workspaces", ignore_errors=True)
    visitor = Visitor(window(), site.url, "user").sign_in()
    site.launch("user", {"startup": "given = 'by the site'"})
    site.wait("user", lambda entry: entry["state"] == "ready")
    return visitor


def test_lab_notebook_and_nbclassic_open_with_a_kernel_that_answers(
    site: Site, user: Visitor
) -> None:
    entry = site.notebook("user")
    file = entry["url"].removeprefix("/notebook/user/lab/tree/")
    user.page.goto(f"{site.url}{entry['url']}?reset")
    lab = Lab(user.page).appears()
    lab.dismiss_news()
    assert lab.run("given") == "'by the site'"
    lab.screenshot("lab")

    user.page.goto(f"{site.url}/notebook/user/notebooks/{file}")
    notebook = Notebook7(user.page).appears()
    assert notebook.run("given + ' too'") == "'by the site too'"
    notebook.screenshot("notebook-7")

    user.page.goto(f"{site.url}/notebook/user/nbclassic/notebooks/{file}")
    classic = Classic(user.page).appears()
    assert classic.run("given + ' here'") == "'by the site here'"
    classic.screenshot("nbclassic")


def test_what_a_user_has_configured_holds_but_for_the_address(
    site: Site, user: Visitor, window: Window
) -> None:
    base = f"{site.url}/notebook/user"
    requests = user.page.request

    def made(kind: str) -> str:
        answer = requests.post(
            f"{base}/api/contents", data={"type": kind}, headers={"Origin": site.url}
        )
        return str(answer.json()["path"])

    # By their own file, and by the operator's arguments.
    assert made("notebook") == "Own name.ipynb"
    assert made("directory") == "Box"
    # Nothing of theirs opens another door.
    assert requests.get(f"{site.url}/own/api/status").status == 404
    stranger = Visitor(window(), site.url, "nobody")
    assert stranger.status("/notebook/user/api/status?token=own") == 303
    own_server = f"{base}/api/status"
    assert requests.get(own_server).json()["started"]

    user.page.goto(f"{base}/lab/tree/deno.ipynb?reset")
    user.page.locator(".jp-Notebook").wait_for()
    outline = "getComputedStyle(document.body).outlineColor"
    assert user.page.evaluate(outline) == "rgb(1, 2, 3)"
    assert _page_config(user.page)["ownWord"] == "by labconfig"
    assert user.page.locator("[data-id=table-of-contents]").count() == 0
    for page in ("tree", "nbclassic/tree"):
        user.page.goto(f"{base}/{page}")
        user.page.wait_for_function(f"{outline} === 'rgb(1, 2, 3)'", timeout=PATIENCE)


def test_pages_of_another_origin_may_do_what_allow_origin_says(site: Site, user: Visitor) -> None:
    path = "/notebook/user/api/events/subscribe"
    for origin, status in (("https://elsewhere.example", 101), ("https://other.example", 403)):
        assert user.websocket(path, origin) == status
    answer = user.page.request.get(
        f"{site.url}/notebook/user/api/contents", headers={"Origin": "https://elsewhere.example"}
    )
    assert answer.headers["access-control-allow-origin"] == "https://elsewhere.example"
    answer = user.page.request.get(
        f"{site.url}/notebook/user/api/contents", headers={"Origin": "https://other.example"}
    )
    assert "access-control-allow-origin" not in answer.headers


def test_extensions_that_users_have_installed_in_their_folder_work(
    site: Site, user: Visitor
) -> None:
    assert user.text("/notebook/user/own-extension") == "for user"
    for page in ("lab/tree/deno.ipynb?reset", "tree"):
        user.page.goto(f"{site.url}/notebook/user/{page}")
        expect(user.page.locator("body")).to_have_attribute(
            "data-own", "by the user's own extension", timeout=PATIENCE
        )
        # And ours beside it.
        user.page.wait_for_function("window._JUPYTERLAB.perijove", timeout=PATIENCE)


def test_kernels_of_other_languages_are_installed_and_run(site: Site, user: Visitor) -> None:
    entry = site.notebook("user")
    user.page.goto(f"{site.url}{entry['url']}?reset")
    lab = Lab(user.page).appears()
    said = lab.run("!python -m bash_kernel.install --user && deno jupyter --install && echo fine")
    assert said.endswith("fine"), said
    for name, code, answer in (
        ("deno", "[1, 2].map((n: number) => n * 21)", "[ 21, 42 ]"),
        ("bash", "for n in 1 2; do echo $((n * 21)); done", "21\n42"),
    ):
        file = f"{name}.ipynb"
        text = (site.home("user") / "deno.ipynb").read_text()
        (site.home("user") / file).write_text(text.replace('"deno"', json.dumps(name)))
        user.page.goto(f"{site.url}/notebook/user/lab/tree/{file}?reset")
        other = Lab(user.page).appears()
        assert other.run(code) == answer
        other.screenshot(f"kernel-{name}")


def test_an_application_of_the_users_own_runs_below_the_notebook(site: Site, user: Visitor) -> None:
    sockets: list[str] = []
    user.page.on("websocket", lambda socket: sockets.append(urlsplit(socket.url).path))
    user.page.goto(f"{site.url}/notebook/user/own-app/")
    pressed = user.page.get_by_text("pressed 0 times")
    pressed.wait_for(timeout=PATIENCE)
    user.page.get_by_role("button", name="More").click()
    user.page.get_by_text("pressed 1 times").wait_for(timeout=PATIENCE)
    user.page.screenshot(path=_out("application"))
    assert "/notebook/user/own-app/_stcore/stream" in sockets
    # It is the user's own, by whatever way.
    guest = Visitor(user.page.context.browser.new_page(), site.url, "guest").sign_in()  # type: ignore[union-attr]
    assert guest.status("/notebook/user/own-app/") == 403
    assert guest.websocket("/notebook/user/own-app/_stcore/stream") == 403
    guest.page.close()


def test_templates_of_the_site_change_the_pages(site: Site, user: Visitor) -> None:
    folder = str(site.root / "templates")
    site.launch("user/changed", {"extra_template_paths": [folder]})
    site.wait("user/changed", lambda entry: entry["state"] == "ready")
    base = f"{site.url}/notebook/user/~changed"
    for path, name in (
        ("tree", "tree"),
        ("nbclassic/tree", "tree"),
        ("nbclassic/edit/own/app.py", "page"),
    ):
        user.page.goto(f"{base}/{path}")
        user.page.locator(f"meta[name=of-the-site][content={name}]").wait_for(state="attached")
        # They work as they did.
        user.page.get_by_text("app.py" if name == "page" else "deno.ipynb").first.wait_for()
    # And in the pages of the server itself.
    user.page.goto(f"{base}/files/none")
    user.page.locator("meta[name=of-the-site][content=page]").wait_for(state="attached")


def test_an_error_of_the_startup_script_is_shown_in_the_first_notebook(
    site: Site, user: Visitor
) -> None:
    url = site.launch("user/broken", {"startup": "before = 1\nbefore / 0\nafter = 2"})["url"]
    user.page.goto(f"{site.url}{url}?reset")
    lab = Lab(user.page).appears()
    said = lab.run("before")
    assert "startup: the script ended with an error" in said
    assert "line 2" in said
    assert "ZeroDivisionError: division by zero" in said
    assert said.endswith("1")
    lab.screenshot("startup-error")
    assert lab.run("before") == "1"
    site.tell("notebook", "stop", "user/broken")


def test_a_new_greeting_is_seen_though_nothing_else_has_changed(site: Site) -> None:
    told = [
        site.launch("user/greeted", {"context_hash": 1, "greeting": greeting})
        for greeting in ("# Good morning", "# Good night")
    ]
    member = Member(site.url, "user")
    first, second = (each["url"].rsplit("/", 1)[1] for each in told)
    assert (first != second, told[1]["created"]) == (True, False)
    site.wait("user/greeted", lambda entry: entry["state"] == "ready")
    for file, greeting in ((first, "# Good morning"), (second, "# Good night")):
        notebook = member.ask("GET", f"~greeted/api/contents/{file}")
        assert notebook["content"]["cells"][0]["source"] == greeting
    site.tell("notebook", "stop", "user/greeted")


def test_a_start_in_the_foreground_shows_what_the_server_says(site: Site) -> None:
    command = [site.command, "notebook", "fg", "user/watched"]
    watched = subprocess.Popen(
        command, cwd=site.root, env=site.environment, stdout=subprocess.PIPE, text=True
    )
    with watched:
        assert watched.stdout is not None
        said = ""
        while "ready: " not in said:
            line = watched.stdout.readline()
            assert line, said
            said += line
        assert "serves /notebook/user/~watched/" in said
        watched.send_signal(signal.SIGINT)
        assert watched.stdout.read().endswith("stopped\n")
        assert watched.wait(PATIENCE / 1000) == 0
    assert site.notebook("user/watched")["state"] == "absent"


def test_a_kernel_that_runs_out_of_memory_tells_its_user(site: Site, user: Visitor) -> None:
    url = site.launch("user/large", {})["url"]
    user.page.goto(f"{site.url}{url}?reset")
    lab = Lab(user.page).appears()
    lab.begin("hog = b'x' * (4 << 30)")
    notice = user.page.locator("#perijove-out-of-memory")
    expect(notice).to_contain_text("reached its limit of 1500 MiB", timeout=PATIENCE)
    lab.screenshot("out-of-memory")
    died = user.page.locator(".jp-Dialog", has_text="Kernel Restarting")
    died.locator(".jp-mod-accept").click()
    died.wait_for(state="detached")
    said = lab.run("6 * 7")
    assert "out of memory: this notebook reached its limit (1500 MiB)" in said
    assert said.endswith("42")
    notice.get_by_role("button", name="Close").click()
    notice.wait_for(state="detached")


def test_a_server_that_dies_again_and_again_is_explained(site: Site, window: Window) -> None:
    entry = site.wait("user2", lambda entry: "left alone" in str(entry["reason"]))
    assert "exit status 3" in entry["reason"]
    assert "5 times" in entry["reason"]
    user2 = Visitor(window(), site.url, "user2").sign_in()
    user2.page.goto(f"{site.url}/notebook/user2/lab")
    user2.page.get_by_text("RuntimeError: the disk of this laboratory is gone").wait_for()
    user2.page.screenshot(path=_out("died"))
    # Whoever has mended it goes on.
    (site.home("user2") / ".jupyter/jupyter_server_config.py").unlink()
    user2.page.get_by_role("button", name="Start it again").click()
    Lab(user2.page).appears()


def _page_config(page: Page) -> Any:
    return json.loads(page.locator("#jupyter-config-data").inner_text())


def _out(name: str) -> str:
    OUT.mkdir(parents=True, exist_ok=True)
    return str(OUT / f"{name}.png")
