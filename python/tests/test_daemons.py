"""Notebooks without perijove: the original's manager and daemon, with real servers and kernels."""

from __future__ import annotations

import contextlib
import json
import os
import signal
import stat
import subprocess
import sys
import threading
import time
import urllib.error
import urllib.request
import uuid
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from fake_control import PACKAGES
from pyramid import testing
from pyramid.request import Request
from pyramid_notebook import views
from pyramid_notebook.notebookmanager import NotebookManager
from pyramid_notebook.proxy import WSGIProxyApplication, is_hop_by_hop, reconstruct_url
from pyramid_notebook.server import comm
from pyramid_notebook.server.notebook_daemon import first_notebook
from websockets.exceptions import InvalidStatus
from websockets.sync.client import connect

#: Seconds to wait for what a busy machine may take its time for.
PATIENCE = 60


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    before = os.environ.get("XDG_RUNTIME_DIR"), os.environ.get("PYTHONPATH")
    place = tmp_path_factory.mktemp("manager")
    os.environ["XDG_RUNTIME_DIR"] = str(place)
    os.environ["PYTHONPATH"] = os.pathsep.join(PACKAGES)
    yield place
    for name, value in zip(("XDG_RUNTIME_DIR", "PYTHONPATH"), before, strict=True):
        os.environ.pop(name) if value is None else os.environ.update({name: value})


@pytest.fixture(scope="module")
def manager(folder: Path) -> Iterator[NotebookManager]:
    manager = NotebookManager(folder / "notebooks", min_port=42000, port_range=40, kill_timeout=600)
    yield manager
    for user in os.listdir(manager.notebook_folder):
        manager.stop_notebook(user)
    assert processes_in(manager.notebook_folder) == []


@pytest.fixture(scope="module")
def ada(manager: NotebookManager) -> dict[str, Any]:
    """A notebook that tests look at without changing it."""
    context = {
        "context_hash": 1,
        "startup": "a = 'foo'\nb = 'bar'\n",
        "greeting": "* **a** - a variable",
        "allow_origin": "http://site.example",
    }
    manager.start_notebook("ada", context)
    found = manager.get_notebook_status("ada")
    assert found is not None
    return found


def processes_in(folder: str) -> list[str]:
    found = []
    for process in Path("/proc").glob("[0-9]*"):
        with contextlib.suppress(OSError):
            if str((process / "cwd").readlink()).startswith(folder):
                found.append((process / "cmdline").read_text())
    return found


def ask(url: str, **headers: str) -> tuple[int, str]:
    fields = {name.replace("_", "-"): value for name, value in headers.items()}
    try:
        with urllib.request.urlopen(urllib.request.Request(url, headers=fields)) as answer:
            return answer.status, answer.read().decode()
    except urllib.error.HTTPError as error:
        with error:
            return error.code, error.read().decode()


def run(context: dict[str, Any], code: str) -> str:
    """What a cell of a new kernel shows, asked for by the token."""
    port, token = context["http_port"], comm.get_token(context["http_port"])
    base = f"localhost:{port}/notebook/api/kernels"
    headers = {"Authorization": f"token {token}"}
    made = urllib.request.Request(f"http://{base}", b"{}", headers, method="POST")
    with urllib.request.urlopen(made, timeout=PATIENCE) as answer:
        kernel = json.load(answer)["id"]
    number = uuid.uuid4().hex
    header = {"msg_id": number, "msg_type": "execute_request", "session": number, "username": ""}
    message = {
        "channel": "shell",
        "header": header | {"version": "5.3"},
        "parent_header": {},
        "metadata": {},
        "content": {"code": code, "silent": False},
    }
    shown: list[str] = []
    with connect(f"ws://{base}/{kernel}/channels", additional_headers=headers) as socket:
        socket.send(json.dumps(message))
        while True:
            told = json.loads(socket.recv(PATIENCE))
            content = told["content"]
            if told["parent_header"].get("msg_id") != number:
                continue
            if told["msg_type"] == "status" and content["execution_state"] == "idle":
                return "".join(shown)
            if told["msg_type"] == "execute_result":
                shown.append(content["data"]["text/plain"])
            shown.append(content.get("text") or content.get("evalue") or "")


def test_a_started_notebook_has_a_process_and_a_port(
    manager: NotebookManager, ada: dict[str, Any]
) -> None:
    assert ada["pid"] > 0
    assert ada["http_port"] in range(42000, 42040)
    assert ada["notebook_name"] == "default-1.ipynb"
    assert ada["kill_timeout"] == 600
    assert manager.is_running("ada")
    assert manager.get_context("ada") == ada
    assert Path(manager.get_pid("ada")).read_text() == f"{ada['pid']}\n"
    assert ada["websocket_url"] == f"ws://localhost:{ada['http_port']}"


def test_its_kernels_run_the_script(ada: dict[str, Any]) -> None:
    assert run(ada, "a + b") == "'foobar'"


def test_the_first_notebook_greets(manager: NotebookManager, ada: dict[str, Any]) -> None:
    file = Path(manager.get_work_folder("ada"), ada["notebook_name"])
    cells = json.loads(file.read_text())["cells"]
    assert cells[0]["source"] == "* **a** - a variable"
    assert cells[-1]["cell_type"] == "code"


def test_what_lies_in_the_folder_is_for_its_account_alone(
    manager: NotebookManager, ada: dict[str, Any]
) -> None:
    folder = Path(manager.get_work_folder("ada"))
    names = (
        "context.json",
        "notebook.pid",
        "notebook.stderr.log",
        "notebook.stdout.log",
        ".jupyter/profile_default/startup/startup.py",
    )
    for path in (folder / name for name in names):
        assert stat.S_IMODE(path.stat().st_mode) == 0o600, path
    for path in (folder, Path(manager.notebook_folder), folder / ".jupyter"):
        assert stat.S_IMODE(path.stat().st_mode) == 0o700, path
    token = Path(comm.token_file(ada["http_port"]))
    assert stat.S_IMODE(token.stat().st_mode) == 0o600
    # The token stands neither in the context nor in an argument or an environment.
    secret = comm.get_token(ada["http_port"])
    assert secret not in json.dumps(ada)
    for process in Path("/proc").glob("[0-9]*"):
        with contextlib.suppress(OSError):
            if str((process / "cwd").readlink()) == str(folder):
                for part in ("cmdline", "environ"):
                    assert secret.encode() not in (process / part).read_bytes()


def test_the_sites_environment_stays_with_the_site(
    manager: NotebookManager, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("DATABASE_URL", "postgres://secret")
    manager.start_notebook("eve", {"environment": {"GIVEN": "1"}})
    context = manager.get_context("eve")
    assert context is not None
    code = "import os; os.environ.get('DATABASE_URL'), os.environ['GIVEN']"
    assert run(context, code) == "(None, '1')"
    manager.stop_notebook("eve")


def test_the_port_asks_for_a_token(ada: dict[str, Any]) -> None:
    base = f"http://localhost:{ada['http_port']}/notebook"
    assert ask(f"{base}/api/contents")[0] == 403
    assert ask(f"{base}/api/contents?token=wrong")[0] == 403
    with pytest.raises(InvalidStatus) as refused:
        connect(f"{base.replace('http', 'ws')}/api/kernels/{uuid.uuid4()}/channels")
    assert refused.value.response.status_code == 403
    token = comm.get_token(ada["http_port"])
    assert ask(f"{base}/api/contents?token={token}")[0] == 200
    me = json.loads(ask(f"{base}/api/me", Authorization=f"token {token}")[1])
    assert me["identity"]["username"] == "ada"
    # A name that somebody else's DNS leads here is not this machine's.
    assert ask(f"{base}/api/contents?token={token}", Host="evil.example")[0] == 403


def test_the_old_way_through_the_site_shows_the_token(ada: dict[str, Any]) -> None:
    def through(path: str, method: str = "GET", body: bytes = b"", **headers: str) -> Any:
        request = Request.blank(path, method=method, body=body)
        request.headers.update({k.replace("_", "-"): v for k, v in headers.items()})
        return views.proxy_it(request, ada["http_port"])

    page = through("/notebook/lab", Cookie="session=secret", Authorization="Basic site")
    assert page.status_int == 200
    assert "Set-Cookie" not in page.headers
    # What a browser needs for the websocket, which goes to the port itself.
    assert comm.get_token(ada["http_port"]) in page.text
    assert f"ws://localhost:{ada['http_port']}" in page.text
    put = json.dumps({"type": "file", "format": "text", "content": "ü"}).encode()
    kind = {"Content_Type": "application/json"}
    made = through("/notebook/api/contents/a%20b%3F.txt", "PUT", put, **kind)
    assert made.status_int == 201
    assert made.json["name"] == "a b?.txt"
    assert through("/notebook/files/a%20b%3F.txt").text == "ü"
    # A page of another site gets nowhere by it.
    for foreign in ({"Origin": "https://evil.example"}, {"Sec_Fetch_Site": "cross-site"}):
        assert through("/notebook/api/kernels", "POST", b"{}", **foreign).status_int == 403
    assert through("/notebook/api/kernels", Sec_Fetch_Site="cross-site").status_int == 403
    chunked = through("/notebook/api/kernels", "POST", Transfer_Encoding="chunked")
    assert chunked.status_int == 411


def test_a_proxy_to_a_port_of_somebody_else_goes_nowhere(folder: Path) -> None:
    request = Request.blank("/notebook/api")
    answer = request.get_response(WSGIProxyApplication(42999))
    assert (answer.status_int, "no notebook of this account" in answer.text) == (503, True)


def test_a_websocket_without_a_way_says_what_to_do() -> None:
    with testing.testConfig(settings={}) as config:
        request = Request.blank("/notebook/api", headers={"Connection": "keep-alive, Upgrade"})
        request.registry = config.registry
        with pytest.raises(RuntimeError, match="perijove serve"):
            views.proxy_it(request, 42000)


def test_on_demand_is_started_joined_and_replaced(manager: NotebookManager) -> None:
    one, two = {"context_hash": 1}, {"context_hash": "two"}
    first, created = manager.start_notebook_on_demand("bob", one)
    assert created
    assert manager.start_notebook_on_demand("bob", one) == (first, False)
    second, created = manager.start_notebook_on_demand("bob", two)
    assert created
    assert second["pid"] != first["pid"]
    manager.stop_notebook("bob")
    assert not manager.is_running("bob")
    assert manager.get_notebook_status("bob") is None
    # The context stays on the disk, and stopping what does not run is no error.
    assert Path(manager.get_work_folder("bob"), "context.json").exists()
    manager.stop_notebook("bob")


def test_two_launches_at_once_are_one(manager: NotebookManager) -> None:
    found: list[Any] = []

    def launch() -> None:
        found.append(manager.start_notebook_on_demand("carl", None))

    threads = [threading.Thread(target=launch) for _ in range(2)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(created for _, created in found) == [False, True]
    assert found[0][0]["pid"] == found[1][0]["pid"]
    with pytest.raises(RuntimeError, match="already running"):
        manager.start_notebook("carl", {"context_hash": 3})
    manager.stop_notebook("carl")


def test_a_number_of_a_process_that_is_used_again_is_left_alone(manager: NotebookManager) -> None:
    """What the original has left behind, with a number that somebody else has by now."""
    folder = Path(manager.get_work_folder("dora"))
    with subprocess.Popen(["sleep", "600"]) as other:
        for left in ({"pid": other.pid}, {"pid": other.pid, "pid_started": "1"}):
            (folder / "context.json").write_text(json.dumps(left | {"http_port": 42001}))
            (folder / "notebook.pid").write_text(f"{other.pid}\n")
            assert not manager.is_running("dora")
            manager.stop_notebook("dora")
            assert other.poll() is None
        other.kill()


def test_the_originals_folder_is_found_again(manager: NotebookManager) -> None:
    folder = Path(manager.notebook_folder, "maija@example.com")
    (folder / ".jupyter/profile_default/startup").mkdir(parents=True)
    (folder / ".jupyter/profile_default/startup/startup.py").write_text("old = 1\n")
    folder.chmod(0o755)
    mine = json.dumps({"cells": [], "metadata": {}, "nbformat": 4, "nbformat_minor": 5})
    (folder / "default-7.ipynb").write_text(mine)
    (folder / "context.json").write_text('{"context_hash": 7, "pid": 1, "http_port": 40000}')
    context, created = manager.start_notebook_on_demand(
        "maija@example.com", {"context_hash": 7, "startup": "new = 2\n"}
    )
    assert created
    assert context["notebook_name"] == "default-7.ipynb"
    assert (folder / "default-7.ipynb").read_text() == mine
    assert stat.S_IMODE(folder.stat().st_mode) == 0o700
    assert run(context, "new, 'old' in globals()") == "(2, False)"
    manager.stop_notebook("maija@example.com")


def test_a_changed_greeting_is_seen_in_a_file_of_its_own(tmp_path: Path) -> None:
    names = [
        first_notebook(str(tmp_path), {"context_hash": 8, "greeting": greeting})
        for greeting in ("one", "two", "one", "two")
    ]
    assert names[:2] == names[2:]
    for name, greeting in zip(names, ("one", "two"), strict=False):
        assert json.loads((tmp_path / name).read_text())["cells"][0]["source"] == greeting


@pytest.mark.parametrize("name", ["../../evil", "/etc/evil", "a/b", ".", "..", ".hidden", "ä"])
def test_a_name_stays_below_the_folder(name: str, manager: NotebookManager) -> None:
    folder = Path(manager.get_work_folder(name))
    assert folder.parent == Path(manager.notebook_folder)
    assert not folder.name.startswith(".")
    folder.rmdir()


@pytest.mark.parametrize("name", ["", None, "a\0b", "a\nb", "x" * 129])
def test_what_is_no_name_is_refused(name: Any, manager: NotebookManager) -> None:
    with pytest.raises(ValueError):
        manager.get_work_folder(name)


@pytest.mark.parametrize(
    ("context", "error"),
    [
        ([], TypeError),
        ({"terminated": True}, ValueError),
        ({"extra_template_paths": "x"}, TypeError),
        ({"context_hash": 1.5}, TypeError),
    ],
)
def test_what_is_no_context_is_refused(
    context: Any, error: type[Exception], manager: NotebookManager
) -> None:
    with pytest.raises(error):
        manager.start_notebook("frank", context)
    assert not manager.is_running("frank")


def test_somebody_elses_folder_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "theirs").mkdir()
    monkeypatch.setattr(os, "geteuid", lambda: 12345)
    owner = (tmp_path / "theirs").stat().st_uid
    if owner == 0:
        os.chown(tmp_path / "theirs", 54321, -1)
    with pytest.raises(RuntimeError, match="another account"):
        NotebookManager(tmp_path / "theirs")


def test_all_ports_taken_is_told(folder: Path, ada: dict[str, Any]) -> None:
    full = NotebookManager(folder / "full", min_port=ada["http_port"], port_range=1)
    with pytest.raises(RuntimeError, match="larger `port_range`"):
        full.start_notebook("ada", None)


def test_why_a_notebook_ended_at_once_is_told(manager: NotebookManager) -> None:
    broken = {"environment": {"PYTHONHOME": "/nowhere"}}
    with pytest.raises(RuntimeError, match=r"(?s)ended while it started.*encodings"):
        manager.start_notebook_on_demand("gina", broken)
    assert not manager.is_running("gina")


def test_both_generations_of_calls_work() -> None:
    assert is_hop_by_hop("Transfer-Encoding")
    assert not is_hop_by_hop("Content-Type")
    request = Request.blank("/notebook/a%20b?x=1")
    assert reconstruct_url(request.environ) == "http://localhost:80/notebook/a%20b?x=1"
    assert reconstruct_url(request.environ, 40000) == "http://localhost:40000/notebook/a%20b?x=1"
    manager = NotebookManager.__new__(NotebookManager)
    same = manager.is_same_context
    assert same(None, {})
    assert same({"context_hash": "a", "pid": 1}, {"context_hash": "a"})
    assert not same({"context_hash": 1}, {"context_hash": 2})


class Daemon:
    """The command line of the daemon, as people and scripts call it."""

    def __init__(self, folder: Path) -> None:
        self.folder, self.pid = folder, folder / "notebook.pid"
        self.environment = {
            **os.environ,
            "PYTHONPATH": os.pathsep.join(PACKAGES),
            "XDG_RUNTIME_DIR": str(folder),
        }
        for path in PACKAGES:
            script = Path(path, "pyramid_notebook/server/notebook_daemon.py")
            if script.exists():
                self.script = script

    def command(self, *arguments: Any) -> list[str]:
        return [sys.executable, str(self.script), *map(str, arguments)]

    def __call__(self, *arguments: Any) -> tuple[int, str, str]:
        done = subprocess.run(
            self.command(*arguments),
            env=self.environment,
            capture_output=True,
            text=True,
            timeout=PATIENCE * 2,
            check=False,
        )
        return done.returncode, done.stdout, done.stderr


@pytest.fixture
def daemon(tmp_path: Path) -> Iterator[Daemon]:
    daemon = Daemon(tmp_path)
    yield daemon
    daemon("stop", daemon.pid)
    assert processes_in(str(tmp_path)) == []


def test_the_command_line(daemon: Daemon) -> None:
    begin = (daemon.pid, daemon.folder, 0, 600)
    assert daemon()[0] == 1
    assert "usage" in daemon()[2]
    assert daemon("dance", daemon.pid)[0] == 1
    assert daemon("start", daemon.pid)[0] == 1
    assert daemon("status", daemon.pid)[0] == 1
    assert daemon("stop", daemon.pid)[0] == 0
    code, _, told = daemon("start", *begin)
    assert (code, "there is no context" in told) == (2, True)

    comm.set_context(str(daemon.pid), {"context_hash": 1, "terminated": True})
    code, _, told = daemon("start", *begin)
    assert (code, "Bad context" in told) == (2, True)

    comm.set_context(str(daemon.pid), {"context_hash": 1})
    code, told, _ = daemon("start", *begin, "--ServerApp.answer_yes=True")
    assert (code, told) == (0, "Starting notebook_daemon.py ... OK\n")
    code, _, told = daemon("start", *begin)
    assert (code, "already running with PID" in told) == (0, True)
    assert daemon("status", daemon.pid)[0] == 0
    before = comm.get_context(str(daemon.pid))
    assert daemon("restart", *begin)[0] == 0
    after = comm.get_context(str(daemon.pid))
    assert before is not None
    assert after is not None
    assert after["pid"] != before["pid"]
    assert daemon("stop", daemon.pid)[0] == 0
    assert daemon("status", daemon.pid)[0] == 1
    assert not daemon.pid.exists()


def test_in_the_foreground(daemon: Daemon) -> None:
    """Without a context, as when something is looked into by hand; then until its time is up."""
    command = daemon.command("fg", daemon.pid, daemon.folder, 0, 600)
    with subprocess.Popen(command, env=daemon.environment, stderr=subprocess.PIPE) as process:
        assert process.stderr is not None
        while b"the notebook runs" not in (line := process.stderr.readline()):
            assert line
        assert daemon("status", daemon.pid)[0] == 0
        process.send_signal(signal.SIGINT)
        process.stderr.read()
    assert process.returncode == 0
    comm.set_context(str(daemon.pid), {"context_hash": 1})
    assert daemon("fg", daemon.pid, daemon.folder, 0, 1)[0] == 66


def test_the_kill_timeout_takes_kernels_along(daemon: Daemon, monkeypatch: Any) -> None:
    monkeypatch.setenv("XDG_RUNTIME_DIR", str(daemon.folder))
    comm.set_context(str(daemon.pid), {"context_hash": 1})
    assert daemon("start", daemon.pid, daemon.folder, 0, 3600)[0] == 0
    context = comm.get_context(str(daemon.pid))
    assert context is not None
    kernel = int(run(context, "import os; os.getpid()"))
    # What the kernel of the system sends when the time is up.
    os.kill(context["pid"], signal.SIGALRM)
    deadline = time.monotonic() + PATIENCE
    while comm.is_alive(context):
        time.sleep(0.1)
        assert time.monotonic() < deadline
    assert comm.started(kernel) is None
    with pytest.raises(RuntimeError):
        comm.get_token(context["http_port"])


def test_a_killed_daemon_leaves_nothing_running(daemon: Daemon) -> None:
    comm.set_context(str(daemon.pid), {"context_hash": 1})
    assert daemon("start", daemon.pid, daemon.folder, 0, 600)[0] == 0
    context = comm.get_context(str(daemon.pid))
    assert context is not None
    os.kill(context["pid"], signal.SIGKILL)
    deadline = time.monotonic() + PATIENCE
    while processes_in(str(daemon.folder)):
        assert time.monotonic() < deadline
        time.sleep(0.1)
    assert daemon("status", daemon.pid)[0] == 1
