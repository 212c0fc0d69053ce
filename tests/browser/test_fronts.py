"""Notebooks on a domain of their own, behind real servers, and in frames, in a real browser."""

from __future__ import annotations

import re
from collections.abc import Callable
from contextlib import closing
from http.client import HTTPConnection
from pathlib import Path

import pytest
from front import UNTOLD, certify, free_port, front, of_guide
from lab import PATIENCE, Lab
from playwright.sync_api import Page, expect
from site_under_test import Site
from visitor import Visitor

Start = Callable[..., Site]
Window = Callable[..., Page]

HANDSHAKE = {
    "Sec-WebSocket-Version": "13",
    "Sec-WebSocket-Key": "AAAAAAAAAAAAAAAAAAAAAA==",
    "Connection": "Upgrade",
    "Upgrade": "websocket",
}

#: Runs code in a kernel of its own, from within a page, and tells the result.
RUN = """async code => {
  const base = "/notebook/user/api/kernels";
  const made = await fetch(base, {method: "POST", body: "{}"});
  const {id} = await made.json();
  const socket = new WebSocket(`wss://${location.host}${base}/${id}/channels`);
  await new Promise((open, fail) => { socket.onopen = open; socket.onerror = fail; });
  const header = {msg_id: "1", msg_type: "execute_request", session: "frame", version: "5.3"};
  const content = {code, silent: false, allow_stdin: false, user_expressions: {}};
  const rest = {parent_header: {}, metadata: {}, channel: "shell", buffers: []};
  return await new Promise(done => {
    socket.onmessage = ({data}) => {
      const message = typeof data === "string" ? JSON.parse(data) : {};
      if (message.msg_type === "execute_result") done(message.content.data["text/plain"]);
    };
    socket.send(JSON.stringify({header, content, ...rest}));
  });
}"""


@pytest.mark.parametrize("name", ["nginx"])
def test_the_whole_story_behind_a_front(
    name: str, start: Start, window: Window, tmp_path: Path
) -> None:
    port = free_port()
    site = start(
        PERIJOVE_NOTEBOOK__DOMAIN=f"https://nb.localhost:{port}",
        PERIJOVE_NOTEBOOK__EMBED="true",
        PERIJOVE_SITE__HOSTS="site.localhost",
        PERIJOVE_TRUSTED_PROXIES="127.0.0.1/32",
    )
    # A page of the site that shows the notebook in a frame.
    frame = '<title>frame</title><iframe src="/notebook/user/-/" width="900" height="600"></iframe>'
    (site.root / "public/frame.html").write_text(frame)
    certify(tmp_path)
    content = of_guide(name, tmp_path, port, site.listen)
    here, there = f"https://site.localhost:{port}", f"https://nb.localhost:{port}"
    with front(name, tmp_path / "front", port, content):
        user = Visitor(window(ignore_https_errors=True), here, "user").sign_in()
        page = user.page
        lab = user.open_shell()
        assert page.url.startswith(f"{there}/notebook/user/lab/"), page.url
        assert "ticket" not in page.url
        assert lab.run("6 * 7").endswith("42")
        _is_kept_apart(page, here, there)

        # In a frame of the site, which is another site than the notebook's: pages, cookie, kernels.
        page.goto(f"{here}/frame.html")
        page.frame_locator("iframe").get_by_text("Your first notebook").wait_for()
        (inside,) = (each for each in page.frames if each.url == f"{there}/notebook/user/-/")
        assert inside.evaluate(RUN, "6 * 7") == "42"

        # The site's own button ends it, and its address leads to where notebooks are.
        page.goto(here)
        page.get_by_role("button", name="Shut down my notebook").click()
        page.get_by_text("was shut down").wait_for()
        page.goto(f"{here}/notebook/user/")
        expect(page).to_have_url(re.compile(f"^{re.escape(there)}/notebook/user/"))


def _is_kept_apart(page: Page, here: str, there: str) -> None:
    cookies = page.context.cookies([there])
    (own,) = [cookie for cookie in cookies if cookie["name"] == "__Host-perijove"]
    kept = {key: own[key] for key in ("domain", "path", "secure", "httpOnly", "sameSite")}
    assert kept == {
        "domain": "nb.localhost",
        "path": "/",
        "secure": True,
        "httpOnly": True,
        "sameSite": "None",
    }
    of_site = {cookie["name"] for cookie in page.context.cookies([here])}
    assert "__Host-perijove" not in of_site
    assert not of_site & {cookie["name"] for cookie in cookies}
    # Who may show it in a frame is said once, and nothing else says otherwise.
    ask = "name => fetch(location.href).then(answer => answer.headers.get(name))"
    policies = page.evaluate(ask, "content-security-policy").split(", ")
    ancestors = [policy for policy in policies if "frame-ancestors" in policy]
    assert ancestors == [f"frame-ancestors 'self' {here}"], policies
    assert page.evaluate(ask, "x-frame-options") is None
    # What runs in a notebook's page is a stranger at the site.
    reach = "url => fetch(url, {credentials: 'include'}).then(a => a.text(), e => String(e))"
    assert "TypeError" in page.evaluate(reach, f"{here}/shell1")


def test_each_user_works_on_an_origin_of_their_own(start: Start, window: Window) -> None:
    port = free_port()
    site = start(
        PERIJOVE_LISTEN=f"127.0.0.1:{port}",
        PERIJOVE_NOTEBOOK__DOMAIN=f"http://{{user}}.nb.localhost:{port}",
    )
    user = Visitor(window(), site.url, "user").sign_in()
    lab = user.open_shell()
    assert user.page.url.startswith(f"http://user.nb.localhost:{port}/"), user.page.url
    assert lab.run("a_variable = 6; a_variable * 7").endswith("42")
    user2 = Visitor(window(), site.url, "user2").sign_in()
    user2.open_shell()
    assert user2.page.url.startswith(f"http://user2.nb.localhost:{port}/"), user2.page.url
    answer = user2.page.goto(f"http://user.nb.localhost:{port}/notebook/user/lab")
    assert answer is not None
    assert answer.status == 401
    site.strike_off("user")
    Lab(user.page).page.wait_for_function(
        "fetch('/notebook/user/api').then(answer => answer.status === 401)", timeout=PATIENCE
    )


@pytest.mark.parametrize("name", ["nginx", "apache"])
def test_a_front_that_takes_websockets_apart_is_told_of(
    name: str, start: Start, tmp_path: Path
) -> None:
    site = start()
    port = free_port()
    content = UNTOLD[name].format(port=port).replace("127.0.0.1:8000", site.listen)
    with front(name, tmp_path / "front", port, content):
        connection = HTTPConnection(f"localhost:{port}", timeout=PATIENCE / 1000)
        with closing(connection):
            path = "/notebook/user/api/kernels/x/channels"
            origin = {"Origin": f"http://localhost:{port}"}
            connection.request("GET", path, headers=HANDSHAKE | origin)
            answer = connection.getresponse()
            told = answer.read().decode()
    assert answer.status == 400, told
    assert "`Upgrade: websocket`" in told
    assert "proxy_set_header Upgrade $http_upgrade" in told
    assert "upgrade=websocket" in told
    assert "takes websockets apart" in site.log.read_text()
