"""The life of a worker process: loading, ending, what it prints."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest
from frames import PACKAGE, Worker

HELLO = """
def application(environ, start_response):
    start_response("200 OK", [])
    return [NAME.encode()]
"""


def site(folder: Path, files: dict[str, str]) -> Path:
    for name, text in files.items():
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
    return folder


def hello(name: str, callable: str = "application") -> str:
    return f"NAME = {name!r}\n{HELLO}".replace("application", callable)


@pytest.mark.parametrize(
    ("app", "files"),
    [
        (None, {"app.py": hello("app")}),
        (None, {"app.py": hello("app", "app")}),
        (None, {"app/__init__.py": hello("app")}),
        ("shop.wsgi:application", {"shop/wsgi.py": hello("app"), "shop/__init__.py": ""}),
        ("shop", {"shop.py": hello("app")}),
        ("shop:site.app", {"shop.py": hello("app", "app") + "\nclass site: app = app"}),
        ("shop:make()", {"shop.py": hello("app") + "\ndef make(): return application"}),
        ("wsgi.py", {"wsgi.py": hello("app")}),
        ("deep/wsgi.py", {"deep/wsgi.py": "from beside import *", "deep/beside.py": hello("app")}),
        ("wsgi.py:main", {"wsgi.py": hello("app", "main")}),
    ],
)
def test_an_application_is_found(
    python: str, tmp_path: Path, app: str | None, files: dict[str, str]
) -> None:
    with Worker(app, python=python, root=site(tmp_path, files)) as worker:
        assert worker.connect().fetch("GET", "/").text == "app"


FAKE_PASTE = """
import sys, types
def application_of(*told):
    def application(environ, start_response):
        start_response("200 OK", [])
        return [repr(told).encode()]
    return application
pyramid, paster, paste, deploy = map(types.ModuleType, ("pyramid", "paster", "paste", "deploy"))
pyramid.paster = paster
paster.setup_logging = lambda uri: print(f"logging as {uri} says")
paster.get_app = lambda uri, name=None: application_of("pyramid", uri, name)
deploy.loadapp = lambda uri, name=None: application_of("paste", uri, name)
sys.modules |= {"paste": paste, "paste.deploy": deploy, "pyramid": pyramid}
"""


@pytest.mark.parametrize(("ini", "name"), [("site.ini", None), ("site.ini#shop", "shop")])
@pytest.mark.parametrize("key", ["app", "ini"])
@pytest.mark.parametrize("has_pyramid", [True, False])
def test_an_ini_file_is_loaded_by_paste(
    tmp_path: Path, ini: str, name: str | None, key: str, has_pyramid: bool
) -> None:
    fake = FAKE_PASTE if has_pyramid else f"{FAKE_PASTE}\nsys.modules['pyramid'] = None"
    folder = site(tmp_path, {"site.ini": "[app:main]\n", "sitecustomize.py": fake})
    order = {"app": ini} if key == "app" else {"app": None, "ini": ini}
    by, uri = ("pyramid", "") if has_pyramid else ("paste", "config:")
    with Worker(root=folder, environment={"PYTHONPATH": str(folder)}, **order) as worker:
        told = worker.connect().fetch("GET", "/").text
        assert told == repr((by, f"{uri}{folder}/site.ini", name))
        assert (f"logging as {folder}/site.ini says" in worker.output()) == has_pyramid


@pytest.mark.parametrize(
    ("app", "files", "message"),
    [
        (None, {}, "error: there is no app.py in"),
        (None, {"app.py": "x = 1"}, "error: app has no application or app"),
        (None, {"app.py": "application = 1"}, "error: application or app in app is int"),
        ("app:missing", {"app.py": ""}, "error: app has no missing"),
        ("app:make()", {"app.py": "def make(): return 1"}, "make() in app returned int"),
        ("gone.py", {}, "error: there is no file gone.py"),
        ("gone.ini", {}, "error: there is no file gone.ini"),
        ("missing:app", {}, "ModuleNotFoundError: No module named 'missing'"),
        ("app", {"app.py": "import missing_one"}, "No module named 'missing_one'"),
        ("app", {"app.py": "def broken(:"}, "SyntaxError"),
        ("app", {"app.py": "raise SystemExit('no database')"}, "SystemExit: no database"),
        ("app:make()", {"app.py": "def make(): 1 / 0"}, "ZeroDivisionError"),
    ],
)
def test_what_cannot_be_loaded_ends_with_the_reason(
    python: str, tmp_path: Path, app: str | None, files: dict[str, str], message: str
) -> None:
    with Worker(app, python=python, root=site(tmp_path, files)) as worker:
        assert worker.wait() == 78
        output = worker.output()
        assert message in output
        assert "importlib" not in output
        assert "perijove/worker" not in output


def test_the_site_sees_its_own_folder_and_ours_only_as_perijove(
    python: str, tmp_path: Path
) -> None:
    app = """
import json, os, sys
import perijove
def application(environ, start_response):
    start_response("200 OK", [])
    return [json.dumps([os.getcwd(), sys.path, perijove.__file__]).encode()]
"""
    with Worker(None, python=python, root=site(tmp_path, {"app.py": app})) as worker:
        folder, path, package = worker.connect().fetch("GET", "/").json
    assert folder == path[0] == str(tmp_path)
    assert package == str(PACKAGE / "__init__.py")
    assert not [entry for entry in path if entry.startswith(str(PACKAGE.parent))]


def test_programs_of_the_application_get_nothing_of_ours(python: str, tmp_path: Path) -> None:
    app = """
import subprocess, sys
def application(environ, start_response):
    start_response("200 OK", [])
    return [OPEN.stdout, b" ", SHOWN.stdout]
SHOW = "import os, sys; print(sorted(os.listdir('/proc/self/fd'), key=int), len(sys.stdin.read()))"
OPEN = subprocess.run([sys.executable, "-c", SHOW], capture_output=True, close_fds=False)
SHOWN = subprocess.run([sys.executable, "-c", SHOW], capture_output=True, close_fds=True)
"""
    with Worker(None, python=python, root=site(tmp_path, {"app.py": app})) as worker:
        opened, shown = worker.connect().fetch("GET", "/").text.split("\n")[:2]
        assert opened.strip() == shown.strip() == "['0', '1', '2', '3'] 0"


def test_ours_wins_over_an_installed_one(python: str, tmp_path: Path) -> None:
    other = site(tmp_path, {"perijove/__init__.py": "raise ImportError('the wrong one')"})
    site(other, {"app.py": "import perijove.control\n" + hello("ours")})
    (other / "perijove-0.9.9.dist-info").mkdir()
    with Worker(None, python=python, root=other) as worker:
        assert worker.connect().fetch("GET", "/").text == "ours"


def test_another_major_version_is_an_error(python: str, tmp_path: Path) -> None:
    (tmp_path / "perijove-7.1.0.dist-info").mkdir()
    with Worker(None, python=python, root=site(tmp_path, {"app.py": hello("x")})) as worker:
        assert worker.wait() == 78
        assert "another perijove: perijove-7.1.0.dist-info" in worker.output()


def test_a_program_of_another_version_is_an_error() -> None:
    with Worker("hello:application", version="9.0.0") as worker:
        assert worker.wait() == 78
        assert "the command is perijove 9.0.0, its Python package is" in worker.output()


def test_pythons_of_another_kind_are_told_what_to_use(tmp_path: Path) -> None:
    for setting, message in {
        "sys.implementation.name = 'pypy'": "pypy cannot run the native worker",
        "sys.version_info = (3, 9, 1)": "Python 3.9 is too old",
        "import sysconfig; sysconfig.get_config_var = lambda _: 1": "a free-threaded Python",
    }.items():
        script = (
            f"import runpy, sys\n{setting}\nsys.argv[0] = 'x'\n"
            f"runpy.run_path({str(PACKAGE / 'worker' / '__main__.py')!r}, run_name='__main__')"
        )
        told = subprocess.run(
            [sys.executable, "-c", script], capture_output=True, text=True, check=False
        )
        assert (told.returncode, message in told.stderr) == (78, True), told.stderr
        assert "`site.upstream`" in told.stderr


def test_a_request_to_stop_lets_requests_end(python: str) -> None:
    with Worker("turns:application", python=python) as worker:
        connection = worker.connect()
        ids = [connection.send("GET", "/seconds?0.3") for _ in range(6)]
        while sum(connection.claims[id] for id in ids) < 4:
            pass
        worker.terminate()
        assert [connection.wait(id).text for id in ids] == ["slept"] * 6
        assert worker.wait() == 0


def test_a_request_to_stop_ends_an_idle_worker(python: str) -> None:
    with Worker("turns:application", python=python) as worker:
        worker.connect().wait_ready()
        worker.terminate()
        assert worker.wait() == 0


def test_a_second_request_to_stop_means_now(python: str) -> None:
    with Worker("turns:application", python=python) as worker:
        connection = worker.connect()
        connection.send("GET", "/stuck")
        connection.fetch("GET", "/await-inside?1")
        worker.terminate()
        while worker.process.poll() is None:
            worker.terminate()
        assert worker.process.returncode == 75


def test_the_end_of_the_program_ends_a_worker_at_once(python: str) -> None:
    with Worker("turns:application", python=python) as worker:
        connection = worker.connect()
        connection.send("GET", "/stuck")
        connection.fetch("GET", "/await-inside?1")
        assert worker.process.stdin
        worker.process.stdin.close()
        assert worker.wait() == 75


def test_lines_are_whole_and_carry_their_request(python: str) -> None:
    with Worker("output:application", python=python) as worker:
        worker.connect().fetch("GET", "/print", request_id="r-1")
        assert worker.lines() == [
            "printed while it was imported",
            "\x1er-1\x1fto stdout",
            "\x1er-1\x1fhalf a line",
            "\x1er-1\x1fand another",
            "\x1er-1\x1fand the rest",
            "\x1er-1\x1fWARNING logged",
            "\x1er-1\x1fto errors",
        ]


def test_lines_of_two_requests_do_not_mix(python: str) -> None:
    with Worker("output:application", python=python) as worker:
        connection = worker.connect()
        ids = [
            connection.send("GET", f"/interleaved?{name}", request_id=f"r-{name}")
            for name in ("a", "b")
        ]
        assert [connection.wait(id).status for id in ids] == [200, 200]
        assert sorted(worker.lines()[1:]) == [
            "\x1er-a\x1fbegun by a, ended by a",
            "\x1er-b\x1fbegun by b, ended by b",
        ]


def test_a_traceback_is_in_the_log_with_its_request(python: str) -> None:
    with Worker("output:application", python=python) as worker:
        worker.connect().fetch("GET", "/raises", request_id="r-7")
        lines = worker.lines()[1:]
        assert lines[0] == "\x1er-7\x1fTraceback (most recent call last):"
        assert lines[-1] == "\x1er-7\x1fValueError: shown in the log"
        assert all(line.startswith("\x1er-7\x1f") for line in lines)


def test_text_that_cannot_be_encoded_is_shown_all_the_same(python: str) -> None:
    with Worker("output:application", python=python) as worker:
        assert worker.connect().fetch("GET", "/odd").status == 200
        assert worker.lines()[1:] == ["\x1ereq-1\x1fsurrogate \\udc80 and 秀樹"]


def test_a_worker_that_dies_shows_what_it_had_entered(python: str) -> None:
    with Worker("turns:application", python=python) as worker:
        connection = worker.connect()
        id = connection.send("GET", "/dies")
        with pytest.raises((EOFError, ConnectionResetError)):
            connection.wait(id)
        assert connection.claims[id] == 1
        assert worker.wait() == 9
