"""The eighteen weaknesses of pyramid_notebook 0.3, each shown to be closed on a site that was
written for it. The numbers are those of the table in docs/guides/from-pyramid-notebook.md.

The site's workers run with Python's assertions switched off. What is closed by a setting is named
by `perijove check` while that setting is off.
"""

from __future__ import annotations

import json
import os
import re
import shutil
import signal
import socket
import sqlite3
import stat
import subprocess
import sys
import tempfile
import threading
import time
import urllib.parse
from collections.abc import Callable, Iterable
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from pathlib import Path

import pytest
from house import (
    BUILT,
    FOLLOWED,
    PATIENCE,
    TREE,
    UPGRADE,
    Example,
    House,
    Visitor,
    ask_socket,
    descendants,
    listening,
    read,
)
from websockets.exceptions import ConnectionClosed
from websockets.sync.client import connect

Another = Callable[..., House]


def test_01_whoever_reaches_a_notebook_must_show_its_token(house: House) -> None:
    ada = house.visitor("ada")
    ada.click("/records/1/shell")
    server = house.server("ada")
    # There is no port at all; what kernels listen on wants signed messages.
    assert listening(server) == []
    path = house.socket_of(server)
    assert stat.S_IMODE(Path(path).parent.stat().st_mode) == 0o700
    doors = (("GET", "contents"), ("POST", "kernels"), ("POST", "terminals"))
    for method, door in doors:
        assert ask_socket(path, method, f"{ada.base}api/{door}") == 403
        wrong = {"Authorization": "token 00"}
        assert ask_socket(path, method, f"{ada.base}api/{door}", **wrong) == 403
    upgrade = {name.replace("-", "_"): value for name, value in UPGRADE.items()}
    kernel = json.loads(ada.ask(f"{ada.base}api/kernels", "POST", b"{}").body)["id"]
    channels = f"{ada.base}api/kernels/{kernel}/channels"
    assert ask_socket(path, "GET", channels, **upgrade) == 403
    if os.geteuid() == 0:
        # Another account of the machine does not come as far as that.
        code = "import socket, sys; socket.socket(socket.AF_UNIX).connect(sys.argv[1])"
        refused = subprocess.run(
            ["/usr/bin/python3", "-c", code, path], user=65534, group=65534, capture_output=True
        )
        assert b"PermissionError" in refused.stderr


def test_02_two_who_start_at_once_get_each_their_own(house: House) -> None:
    people = [house.visitor(name) for name in ("bob", "carl")]
    with ThreadPoolExecutor(2) as pool:
        list(pool.map(lambda one: one.click("/records/2/shell"), people))
    for person in people:
        body = json.dumps({"type": "file", "format": "text", "content": person.name})
        path = f"{person.base}api/contents/mine-{person.name}.txt"
        assert person.ask(path, "PUT", body).status == 201
    for person in people:
        assert person.json("api/me")["identity"]["username"] == person.name
        files = [one["name"] for one in person.json("api/contents")["content"]]
        assert [name for name in files if name.startswith("mine-")] == [f"mine-{person.name}.txt"]


def test_03_a_number_that_another_process_has_by_now_is_left_alone(another: Another) -> None:
    house = another().serve()
    house.visitor("dora").click("/records/3/shell")
    process = house.served.process
    assert process is not None
    with process:
        process.kill()
    guardian = int(next(one["handle"]["process"] for one in house.records()))
    for pid in sorted(descendants(guardian)):
        os.kill(pid, signal.SIGKILL)
    innocent = subprocess.Popen(["sleep", "60"])
    try:
        # As if the kernel had given the number to somebody else meanwhile.
        number, other = re.compile(rf":{guardian}\b"), f":{innocent.pid}"
        with closing(sqlite3.connect(house.state / "state.db")) as database, database:
            [(text,)] = database.execute("SELECT record FROM server")
            assert len(number.findall(text)) > 1
            database.execute("UPDATE server SET record = ?", (number.sub(other, text),))
        for path in (house.state / "notebooks").glob("*/*.json"):
            path.write_text(number.sub(other, path.read_text()))
        house.serve()
        assert house.notebook("dora")["state"] in ("lost", "absent")
        house.served.ask("notebook", "stop", "dora")
        assert innocent.poll() is None
    finally:
        innocent.kill()
        innocent.wait()


@pytest.mark.parametrize("name", ["../../evil", "/etc/evil", "a/b"])
def test_04_a_user_name_leads_to_no_other_folder(name: str, house: House) -> None:
    house.visitor(name).click("/records/4/shell")
    folder = Path(house.notebook(name)["folder"])
    assert folder.parent == house.folders
    assert not folder.name.startswith(".")
    around = [house.root.parent / "evil", house.root / "evil", house.root / "var/evil"]
    assert not any(path.exists() for path in [*around, Path("/etc/evil"), house.folders / "a"])
    house.tell("notebook", "stop", name)


def test_04_names_that_differ_in_case_have_each_a_folder(house: House) -> None:
    for name in ("ada", "Ada"):
        house.visitor(name).click("/records/1/shell")
    folders = {house.notebook(name)["folder"] for name in ("ada", "Ada")}
    assert len(folders) == 2
    house.tell("notebook", "stop", "Ada")


def test_05_what_perijove_keeps_is_its_accounts_alone(house: House) -> None:
    house.visitor("ada").click("/records/1/shell")
    looked_at = 0
    for top in (house.state, house.run, house.folders):
        for path in [top, *top.rglob("*")]:
            # What Jupyter makes in a user's folder is behind that folder's permissions.
            is_jupyters = house.folders in path.parents and path.parent != house.folders
            found = path.lstat()
            if not is_jupyters and not stat.S_ISLNK(found.st_mode):
                assert found.st_mode & 0o077 == 0, path
                assert found.st_uid == os.geteuid(), path
                looked_at += 1
    assert looked_at > 10
    for name in ("notebook.dump", "notebook.shutdown.dump"):
        assert not Path(tempfile.gettempdir(), name).exists()


def test_05_what_others_have_put_there_is_not_used(house: House, tmp_path: Path) -> None:
    victim = tmp_path / "victim"
    victim.write_text("precious")
    carl = house.visitor("carl")
    carl.click("/records/5/shell")
    house.tell("notebook", "stop", "carl")
    script = house.folders / "carl/.perijove/startup.py"
    script.unlink()
    script.symlink_to(victim)
    carl.click("/records/6/shell")
    assert victim.read_text() == "precious"
    house.tell("notebook", "stop", "carl")
    if os.geteuid() == 0:
        shutil.rmtree(house.folders / "carl")
        (house.folders / "carl").mkdir()
        os.chown(house.folders / "carl", 54321, 54321)
        refused = carl.ask("/records/7/shell")
        assert refused.status >= 500
        assert "another account" in refused.text
        (house.folders / "carl").rmdir()


#: What a user may put into their own Jupyter configuration: it notes all that the server hears.
SPY = """
import os
from tornado.web import Application

answer = Application.log_request


def note(self, handler):
    with open(os.path.expanduser("~/heard"), "a") as file:
        print(sorted(handler.request.headers.get_all()), file=file)
    answer(self, handler)


Application.log_request = note
"""


def test_06_secrets_stay_where_they_belong(house: House) -> None:
    ada = house.visitor("ada")
    ada.click("/records/1/shell")
    house.end("ada")
    settings = house.folders / "ada/.jupyter/jupyter_server_config.py"
    settings.parent.mkdir(exist_ok=True)
    settings.write_text(SPY)
    ada.click("/records/hush-hush/shell")
    shown = {"Authorization": "Basic c2VjcmV0OnNlY3JldA=="}
    assert ada.ask(f"{ada.base}api/kernels", fields=shown).status == 200
    heard = (house.folders / "ada/heard").read_text()
    assert "Host" in heard
    assert ada.cookie.split("=", 1)[1] not in heard
    assert "c2VjcmV0" not in heard
    # Neither what the site runs on nor what makes the notebook answer is told to its processes.
    variables = house.visitor("ada").kernel()("import os\nprint(dict(os.environ))")
    assert "the-sites-secret" not in variables
    token = next(one["token"] for one in house.records() if one["user"] == "ada")
    for process in descendants(house.server("ada")):
        for part in ("cmdline", "environ"):
            said = read(Path(f"/proc/{process}/{part}"))
            assert token not in said
            assert "the-sites-secret" not in said
    # No log tells of what was launched, and scripts can be read by the account alone.
    logs = [house.served.log, *house.state.rglob("*.log")]
    assert len(logs) > 1
    for log in logs:
        assert "hush-hush" not in log.read_text(errors="replace"), log
    script = house.folders / "ada/.perijove/startup.py"
    assert "hush-hush" in script.read_text()
    assert stat.S_IMODE(script.stat().st_mode) == 0o600
    settings.unlink()
    house.tell("notebook", "stop", "ada")


def test_07_a_page_of_a_notebook_is_not_the_sites(another: Another) -> None:
    house = another()
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    # It stands in the configuration.
    house.served.listen, domain = f"127.0.0.1:{port}", f"nb.localhost:{port}"
    house.served.environment["PERIJOVE_NOTEBOOK__DOMAIN"] = f"http://{domain}"
    house.serve()
    ada = house.visitor("ada")
    launched = ada.ask("/records/7/shell")
    assert urllib.parse.urlsplit(launched.headers["Location"]).netloc == domain
    target = launched.headers["Location"].partition(domain)[2]
    ticket = Visitor(house.address).ask(target, fields=FOLLOWED | {"Host": domain})
    there = Visitor(house.address)
    there.name, there.cookie = "ada", ticket.headers["Set-Cookie"].split(";")[0]
    own = {"Host": domain, "Origin": f"http://{domain}"}
    deadline = time.monotonic() + PATIENCE
    while there.ask(f"{ada.base}api/contents", fields=own).status != 200:
        assert time.monotonic() < deadline
        time.sleep(0.1)
    # A page that the notebook serves is at the notebooks' origin, and nowhere else.
    script = {"type": "file", "format": "text", "content": "<script>alert(1)</script>"}
    path = f"{ada.base}api/contents/evil.html"
    assert there.ask(path, "PUT", json.dumps(script), own).status == 201
    page = there.ask(f"{ada.base}files/evil.html", fields=own)
    assert (page.status, "<script>" in page.text) == (200, True)
    at_site = ada.ask(f"{ada.base}files/evil.html")
    assert (at_site.status != 200, "<script>" in at_site.text) == (True, False)
    # The one's cookie is nothing to the other; and what such a page asks of the site is refused.
    assert ada.ask(f"{ada.base}api/contents", fields=own).status in (401, 403)
    assert there.ask("/records/8/shell").status in (401, 403)
    foreign = {"Origin": f"http://{domain}", "Sec-Fetch-Site": "same-site"}
    assert ada.ask("/records/8/shell", "POST", b"", foreign).status == 403
    assert ada.ask("/notebook/shutdown", "POST", b"", foreign).status == 403
    assert "share the origin" not in house.check()
    del house.served.environment["PERIJOVE_NOTEBOOK__DOMAIN"]
    assert "notebooks share the origin of the site" in house.check()


def test_08_a_page_of_another_site_ends_and_replaces_nothing(house: House) -> None:
    ada = house.visitor("ada")
    hidden = {"Sec-Fetch-Site": "cross-site", "Sec-Fetch-Mode": "no-cors"}
    hidden["Sec-Fetch-Dest"] = "image"
    house.end("ada")
    assert ada.ask("/records/8/shell", fields=hidden).status == 403
    assert "ada" not in house.running()
    # A link that is followed may start, and join.
    place = ada.ask("/records/8/shell", fields=FOLLOWED)
    assert place.status == 302
    ada.until_ready()
    before = house.server("ada")
    assert ada.ask("/records/8/shell", fields=FOLLOWED).place == place.place
    assert house.server("ada") == before
    # To replace, and to stop, its user is asked.
    asking = ada.ask("/records/9/shell", fields=FOLLOWED)
    page = ada.ask(asking.place, fields=FOLLOWED)
    assert (page.status, 'method="post"' in page.text) == (200, True)
    stopping = ada.ask("/notebook/shutdown", fields=FOLLOWED)
    assert (stopping.status, stopping.place) == (303, f"{ada.base}-/stop")
    page = ada.ask(stopping.place, fields=FOLLOWED)
    assert (page.status, 'method="post"' in page.text) == (200, True)
    assert ada.ask("/notebook/shutdown", fields=hidden).status == 403
    foreign = {"Origin": "https://evil.example", "Sec-Fetch-Site": "cross-site"}
    assert ada.ask(stopping.place, "POST", b"", foreign).status == 403
    assert house.server("ada") == before
    # The same by links of the site's own.
    assert ada.ask("/notebook/shutdown").status == 302
    assert "ada" not in house.running()


def test_09_a_host_that_a_request_names_is_not_believed(house: House) -> None:
    ada = house.visitor("ada")
    ada.click("/records/1/shell")
    before = house.server("ada")
    evil = {"Host": "evil.example", "Origin": "http://evil.example"}
    for path in ("lab", "api/contents", "api/kernels"):
        assert ada.ask(f"{ada.base}{path}", fields=evil).status == 403
    assert ada.ask(f"{ada.base}api/kernels", "POST", b"{}", evil).status == 403
    channels = f"{ada.base}api/kernels/{'0' * 32}/channels"
    assert ada.handshake(channels, evil) == 403
    # A launch by that name changes nothing for those who come by the right one.
    ada.ask("/records/1/shell", fields=evil)
    assert house.server("ada") == before
    assert ada.handshake(channels, {"Origin": "http://evil.example"}) == 403
    answer = ada.ask(f"{ada.base}api/contents", fields={"Origin": "http://evil.example"})
    assert "evil" not in str(answer.headers)


def test_10_notebooks_are_not_used_in_the_clear(house: House) -> None:
    ada = house.visitor("ada")
    ada.click("/records/1/shell")
    far = {"X-Forwarded-For": "203.0.113.9"}
    refused = ada.ask(f"{ada.base}api/contents", fields=far)
    assert (refused.status, "https" in refused.text.lower()) == (403, True)
    assert ada.handshake(f"{ada.base}api/kernels/{'0' * 32}/channels", far) == 403
    secured = {"X-Forwarded-Proto": "https", "Origin": f"https://{ada.address}"}
    assert ada.ask(f"{ada.base}api/contents", fields=far | secured).status == 200
    said = house.check(PERIJOVE_NOTEBOOK__INSECURE="true")
    assert "plain HTTP" in said
    assert "plain HTTP" not in house.check()


def test_11_checks_hold_without_assertions_and_a_forgotten_permission_opens_nothing(
    house: House,
) -> None:
    nobody, guest = house.visitor(), house.visitor("guest")
    assert nobody.ask("/optimised").text == "True"
    # The view has no permission: there is still no shell for nobody.
    assert nobody.ask("/careless/shell").status == 403
    assert guest.ask("/records/1/shell").status == 403
    for visitor in (nobody, guest):
        for path in ("lab", "api/contents", "api/kernels"):
            assert visitor.ask(f"/notebook/ada/{path}").status in (401, 403)
    code = (
        "from pyramid_notebook import startup\n"
        "from pyramid_notebook.views import security_check\n"
        "from pyramid_notebook.notebookmanager import NotebookManager\n"
        "calls = (lambda: startup.make_startup({}, 7), lambda: startup.add_script([], 'x'),\n"
        "    lambda: security_check(None, ''),\n"
        "    lambda: NotebookManager('m').start_notebook('ada', {'context_hash': 1.5}),\n"
        "    lambda: NotebookManager('m').get_work_folder('a\\0b'))\n"
        "for call in calls:\n"
        "    try: call()\n"
        "    except Exception as error: print(type(error).__name__)\n"
    )
    packages = os.pathsep.join([str(TREE / "python"), str(TREE / "python/pyramid_notebook")])
    told = subprocess.run(
        [sys.executable, "-OO", "-c", code],
        env={**os.environ, "PYTHONPATH": packages},
        cwd=house.root / "var",
        capture_output=True,
        text=True,
        timeout=PATIENCE,
    )
    expected = ["TypeError", "TypeError", "HTTPForbidden", "TypeError", "ValueError"]
    assert told.stdout.split() == expected, told.stderr


def test_12_a_websocket_is_opened_when_all_is_known_and_closed_when_it_changes(
    house: House,
) -> None:
    ada, bob, guest = (house.visitor(name) for name in ("ada", "bob", "guest"))
    ada.click("/records/1/shell")
    kernel = json.loads(ada.ask(f"{ada.base}api/kernels", "POST", b"{}").body)["id"]
    channels = f"{ada.base}api/kernels/{kernel}/channels"
    for foreign in ("http://evil.example", "null"):
        assert ada.handshake(channels, {"Origin": foreign}) == 403
    assert [one.handshake(channels) for one in (bob, guest)] == [403, 403]
    assert house.visitor().handshake(channels) in (401, 403)
    # No 101 where there is nobody behind.
    assert ada.handshake(f"{ada.base}api/kernels/{'0' * 32}/channels") == 404
    url = f"ws://{house.address}{channels}"
    with connect(url, additional_headers=ada.fields, proxy=None) as open_one:
        with house.database() as database:
            database.execute("UPDATE users SET enabled = 0 WHERE username = 'ada'")
        try:
            # Five seconds, and what a busy machine needs beside.
            ends_within(open_one.recv, 20)
        finally:
            with house.database() as database:
                database.execute("UPDATE users SET enabled = 1 WHERE username = 'ada'")
    # A message that nobody could mean ends the connection, and not the server.
    with connect(url, additional_headers=ada.fields, proxy=None) as large:
        before = house.server("ada")
        try:
            for _ in range(64):
                large.send("x" * (16 << 20))
            ends_within(large.recv, PATIENCE)
        except ConnectionClosed:
            pass
    assert house.server("ada") == before
    ada.until_ready()


def ends_within(receive: Callable[[float], object], seconds: float) -> None:
    deadline = time.monotonic() + seconds
    while (left := deadline - time.monotonic()) > 0:
        try:
            receive(left)
        except ConnectionClosed:
            return
        except TimeoutError:
            break
    raise AssertionError("the websocket stays open")


def test_13_what_goes_through_is_passed_on_as_it_is(house: House) -> None:
    ada = house.visitor("ada")
    ada.click("/records/1/shell")
    for name in ("a%20b.txt", "%C3%A4.txt", "a%3Fb.txt", "a%3Bb.txt", "a%25b.txt", "a+b.txt"):
        body = json.dumps({"type": "file", "format": "text", "content": name}).encode()

        def pieces(body: bytes = body) -> Iterable[bytes]:
            yield body[:10]
            yield body[10:]

        # In pieces, without a length.
        chunked = {"Transfer-Encoding": "chunked"}
        path = f"{ada.base}api/contents/{name}"
        made = ada.ask(path, "PUT", pieces(), chunked)
        assert made.status in (200, 201), made.text
        assert ada.ask(f"{ada.base}files/{name}").text == name


def test_13_a_notebook_that_hangs_or_has_died_hurts_nobody_else(house: House) -> None:
    ada, bob = house.visitor("ada"), house.visitor("bob")
    ada.click("/records/1/shell")
    server = house.server("ada")
    os.kill(server, signal.SIGSTOP)
    try:
        # More than the site has threads for.
        waiting = [hang(ada) for _ in range(20)]
        begun = time.monotonic()
        for _ in range(10):
            assert bob.ask("/").status == 200
        assert time.monotonic() - begun < PATIENCE / 4
        for stream in waiting:
            stream.close()
    finally:
        os.kill(server, signal.SIGCONT)
    ada.until_ready()
    house.tell("notebook", "stop", "ada")
    gone = ada.ask(f"{ada.base}lab", fields={"Accept": "text/html"})
    assert gone.status in (404, 503)
    for inner in ("sock", "Traceback", "127.0.0.1:", str(house.state), str(house.run)):
        assert inner not in gone.text.replace(house.address, "")


def hang(visitor: Visitor) -> socket.socket:
    host, port = visitor.address.split(":")
    stream = socket.create_connection((host, int(port)), PATIENCE)
    fields = "".join(f"{name}: {value}\r\n" for name, value in visitor.fields.items())
    head = f"GET {visitor.base}api/contents HTTP/1.1\r\nHost: {visitor.address}\r\n{fields}\r\n"
    stream.sendall(head.encode())
    return stream


def test_14_nobody_can_take_all_there_is(house: House) -> None:
    ada, bob = house.visitor("ada"), house.visitor("bob")
    ada.click("/records/1/shell")
    # One may have so many; the others notice nothing.
    assert ada.ask("/named/second/shell").status == 302
    refused = ada.ask("/named/third/shell")
    assert (refused.status, "may have no more" in refused.text) == (503, True)
    bob.click("/records/1/shell")
    house.tell("notebook", "stop", "ada/second")
    told = house.notebook("ada")["limits"]
    assert "memory" in told
    cell = ada.kernel()
    assert cell("import resource\nprint(resource.getrlimit(resource.RLIMIT_NOFILE)[1])") == "4096"
    # Whoever slips away from the kernel is ended with the notebook.
    away = cell(
        "import os, subprocess\n"
        "away = subprocess.Popen(['sh', '-c', 'setsid sleep 600 & echo $!'], stdout=-1)\n"
        "print(away.stdout.readline().decode())"
    )
    assert Path(f"/proc/{away}").exists()
    house.tell("notebook", "stop", "ada")
    deadline = time.monotonic() + PATIENCE
    while Path(f"/proc/{away}").exists():
        assert time.monotonic() < deadline
        time.sleep(0.05)
    assert "can use all memory" in house.check(PERIJOVE_NOTEBOOK__LIMITS="{}")
    assert "can use all memory" not in house.check()


TRIES = """
def tried(what, *args):
    try:
        return "open" if what(*args) else "shut"
    except OSError as error:
        return "shut"

def reads(path):
    return open(path, "rb").read(10) or os.listdir(path)

import os
print(*(tried(reads, path) for path in {paths!r}))
"""


def test_15_a_notebook_reads_nothing_of_the_sites_or_of_other_users(house: House) -> None:
    ada, bob = house.visitor("ada"), house.visitor("bob")
    ada.click("/records/1/shell")
    bob.click("/records/1/shell")
    (house.folders / "bob/diary.txt").write_text("dear diary")
    process = house.served.process
    assert process is not None
    paths = [
        *(house.root / name for name in ("development.ini", "var/backoffice.sqlite", "backoffice")),
        house.folders / "bob/diary.txt",
        house.state / "state.db",
        house.run / "control.sock.secret",
        f"/proc/{process.pid}/environ",
        f"/proc/{house.server('bob')}/environ",
        house.folders / "ada/.perijove/startup.py",
    ]
    told = ada.kernel()(TRIES.format(paths=[str(path) for path in paths]))
    assert told.split() == ["shut"] * 8 + ["open"]
    # Who did what is on record.
    log = house.served.log.read_text()
    assert 'deed="launch"' in log
    off = house.check(PERIJOVE_NOTEBOOK__SANDBOX="none")
    assert "notebooks are kept from nothing" in off
    assert "notebooks are kept from nothing" not in house.check()


def test_16_a_path_is_a_text_in_the_startup_script(another: Another) -> None:
    house = another('it\'s "odd" {cwd} {0} ü')
    short = house.served.environment
    with_short_names = Path(house.served.environment["HOME"]).parent
    house.run = with_short_names / "run"
    short["PERIJOVE_RUNTIME_FOLDER"] = str(house.run)
    house.serve()
    ada = house.visitor("ada")
    ada.click("/admin/shell")
    assert ada.kernel()("print(config_file)") == str(house.root / "development.ini")


def test_17_launches_at_once_are_one(house: House) -> None:
    house.tell("notebook", "stop", "--all")
    ada = house.visitor("ada")
    barrier = threading.Barrier(8)

    def launch(_: int) -> tuple[int, str]:
        barrier.wait(PATIENCE)
        answer = ada.ask("/records/17/shell")
        return answer.status, answer.place

    with ThreadPoolExecutor(8) as pool:
        answers = set(pool.map(launch, range(8)))
    assert len(answers) == 1
    status, place = answers.pop()
    assert status == 302
    assert place.startswith(ada.base)
    ada.until_ready()
    assert house.running().count("ada") == 1


def test_18_the_demo_is_for_its_machine_and_makes_its_own_secret(tmp_path: Path) -> None:
    listen = Example("wsgi", tmp_path, command=BUILT).ask("demo", "--help").stdout
    assert "[default: 127.0.0.1:8000]" in listen
    originals = TREE / "python/pyramid_notebook/pyramid_notebook/demo/development.ini"
    assert "host = 127.0.0.1" in originals.read_text()
    secrets = []
    for number in range(2):
        demo = Example("pyramid-site", Path(tempfile.mkdtemp(prefix="pj")), command=BUILT)
        try:
            demo.serve()
            assert demo.url.startswith("http://127.0.0.1:")
            made = [path for path in (demo.root / "var").rglob("*") if "secret" in path.name]
            assert len(made) == 1, number
            assert stat.S_IMODE(made[0].stat().st_mode) == 0o600
            secrets.append(made[0].read_bytes())
        finally:
            demo.stop()
            shutil.rmtree(demo.root.parent)
    assert secrets[0] != secrets[1]
    assert all(len(secret) >= 32 for secret in secrets)


def test_every_weakness_is_in_the_table_with_its_tests() -> None:
    guide = (TREE / "docs/guides/from-pyramid-notebook.md").read_text()
    table = guide.partition("## The eighteen weaknesses")[2]
    rows = [line.split(" | ") for line in table.splitlines() if re.match(r"\| \d", line)]
    assert [int(row[0].strip("| ")) for row in rows] == list(range(1, 19))
    named = {name for name in globals() if re.match(r"test_\d\d_", name)}
    assert {name for row in rows for name in re.findall("`(test_\\w+)`", row[-1])} == named
