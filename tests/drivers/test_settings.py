"""What drivers make of the site's own settings, of the names of applications, and of accounts."""

from __future__ import annotations

import os
import pwd
import shutil
import signal
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from served import TREE, Served, until
from table import Column

Start = Callable[..., Served]

#: The drivers that load the application each in a way of its own.
WSGI = ("native", "wsgiref", "gevent", "gunicorn", "uwsgi", "mod_wsgi")

FORMS = {
    "wsgi_app:application": "module",
    "forms:make()": "factory",
    "forms.py": "file",
    "production.ini": "ini",
}


@pytest.fixture
def site(place: Path, parts: tuple[Path, Path]) -> Iterator[Start]:
    """Makes sites that are not started yet."""
    made = []

    def make(server: str, arguments: tuple[str, ...] = (), **environment: str) -> Served:
        one = Served(place, parts, Column(server, server, arguments=arguments), starts=False)
        one.environment.update(environment)
        made.append(one)
        return one

    yield make
    for one in made:
        one.__exit__()


@pytest.mark.parametrize("server", WSGI)
@pytest.mark.parametrize("app", FORMS)
def test_every_name_of_an_application_works(site: Start, server: str, app: str) -> None:
    one = site(server)
    one.app = app
    one.start()
    assert one.ask("/environ/x").json()["PATH_INFO"] == "/environ/x"


def test_gunicorn_reads_its_own_configuration(site: Start) -> None:
    one = site("gunicorn", GUNICORN_CMD_ARGS="--threads 3 --bind 127.0.0.1:1")
    (one.root / "gunicorn.conf.py").write_text(
        "workers = 1\nthreads = 2\nbind = '127.0.0.1:2'\nproc_name = 'theirs'\n"
    )
    one.start()
    one.told("Using worker: gthread")
    assert one.logged().count("Booting worker") == 1
    # Three at once, as the variable says: with the third under way, a fourth waits in line.
    assert one.ask("/environ").json()["SERVER_SOFTWARE"].startswith("gunicorn/")
    assert "127.0.0.1:1" not in one.logged()


def test_uwsgi_reads_its_variables(site: Start) -> None:
    one = site("uwsgi", UWSGI_PROCESSES="1", UWSGI_THREADS="3", UWSGI_PROCNAME_PREFIX="theirs-")
    one.start()
    one.told("spawned uWSGI worker 1")
    assert "spawned uWSGI worker 2" not in one.logged()
    one.told("cores: 3")


def test_a_command_gets_the_socket_or_the_port(site: Start) -> None:
    for command in (
        '["gunicorn", "--bind", "unix:{socket}", "wsgi_app:application"]',
        "\"gunicorn --bind 127.0.0.1:$PORT 'wsgi_app:application'\"",
    ):
        one = site("command")
        one.command = command
        one.start()
        assert one.ask("/environ/x").json()["PATH_INFO"] == "/environ/x"
        assert one.end() == 0


def test_a_procfile_is_a_command(site: Start) -> None:
    one = site("")
    (one.root / "Procfile").write_text("web: gunicorn --bind :$PORT wsgi_app\n")
    one.app = ""
    one.start()
    assert one.ask("/environ/x").json()["PATH_INFO"] == "/environ/x"


def test_an_application_of_asgi_is_no_application_of_wsgi(site: Start) -> None:
    one = site("gunicorn")
    one.app = "asgi_app:application"
    assert one.begin().wait(60) == 78
    assert "its server speaks WSGI alone" in one.logged()


def test_a_server_that_is_missing_is_told_before_anything(site: Start, tmp_path: Path) -> None:
    one = site("gunicorn", PERIJOVE_SITE__PYTHON=str(empty(tmp_path)))
    assert one.begin().wait(60) == 69
    assert "does not have gunicorn" in one.logged()
    assert "-m pip install 'gunicorn==27.0.1'" in one.logged()


def test_a_reload_to_a_server_that_is_missing_changes_nothing(site: Start, tmp_path: Path) -> None:
    one = site("wsgiref", PERIJOVE_SITE__PYTHON=str(empty(tmp_path)))
    one.start()
    before = one.ask("/process").json()["pid"]
    one.configure(server="gunicorn")
    one.reload()
    one.told("does not have gunicorn")
    assert one.ask("/process").json()["pid"] in [before, *one.left()]


def test_a_failed_installation_is_tried_again(site: Start, tmp_path: Path, wheels: Path) -> None:
    environment = empty(tmp_path)
    nowhere = {"PIP_INDEX_URL": "http://127.0.0.1:1/", "PIP_RETRIES": "0", "PIP_NO_INDEX": "1"}
    one = site("gunicorn", PERIJOVE_SITE__PYTHON=str(environment), **nowhere)
    one.environment["PERIJOVE_SITE__INSTALL"] = "true"
    assert one.begin().wait(60) == 69
    assert "could not be installed" in one.logged()

    # The second time there is something to install from: the lock does not stand in the way.
    one.environment["PIP_FIND_LINKS"] = str(wheels)
    one.start()
    assert one.ask("/environ").json()["SERVER_SOFTWARE"].startswith("gunicorn/")
    one.told("installed")


def test_an_environment_without_pip_is_installed_into_by_uv(
    site: Start, tmp_path: Path, wheels: Path
) -> None:
    environment = empty(tmp_path, "--without-pip")
    uv = TREE / "target/venvs/tools/bin"
    one = site("gunicorn", PERIJOVE_SITE__PYTHON=str(environment), PERIJOVE_SITE__INSTALL="true")
    assert one.begin().wait(60) == 69
    assert "its environment has no pip, and there is no uv" in one.logged()
    one.environment |= {
        "PATH": f"{uv}:/usr/bin:/bin",
        "UV_OFFLINE": "1",
        "UV_FIND_LINKS": str(wheels),
        "UV_CACHE_DIR": str(tmp_path / "cache"),
    }
    one.start()
    assert one.ask("/environ").json()["SERVER_SOFTWARE"].startswith("gunicorn/")


def test_two_that_install_at_once_install_once(site: Start, tmp_path: Path, wheels: Path) -> None:
    environment = {
        "PERIJOVE_SITE__PYTHON": str(empty(tmp_path)),
        "PERIJOVE_SITE__INSTALL": "true",
        "PIP_NO_INDEX": "1",
        "PIP_FIND_LINKS": str(wheels),
    }
    both = [site("gunicorn", **environment) for _ in range(2)]
    for one in both:
        one.begin()
    for one in both:
        one.ready()
        assert one.ask("/environ").json()["SERVER_SOFTWARE"].startswith("gunicorn/")
    assert sum(one.logged().count("Successfully installed") for one in both) == 1


def test_what_apaches_account_cannot_read_is_told_beforehand(site: Start, tmp_path: Path) -> None:
    closed = tmp_path / "closed"
    shutil.copytree(TREE / "target/venvs/drivers", closed / "drivers", symlinks=True)
    closed.chmod(0o700)
    one = site("mod_wsgi", PERIJOVE_SITE__PYTHON=str(closed / "drivers"))
    if os.getuid() != 0:
        # Apache runs as whoever starts it: nobody is kept out.
        one.start()
        return
    assert one.begin().wait(60) == 69
    assert "the account www-data, which Apache runs the application as, cannot use" in one.logged()


def empty(folder: Path, *options: str) -> Path:
    """An environment with pip and nothing else, or not even that."""
    environment = folder / "environment"
    python = TREE / "target/venvs/drivers/bin/python"
    subprocess.run([python, "-m", "venv", *options, environment], check=True)
    return environment


@pytest.fixture(scope="module")
def wheels(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """gunicorn and what it needs, as wheels."""
    folder = tmp_path_factory.mktemp("wheels")
    python = TREE / "target/venvs/drivers/bin/python"
    command = [python, "-m", "pip", "download", "--quiet", "--dest", folder, "gunicorn==27.0.1"]
    subprocess.run(command, check=True)
    return folder


#: What a process of each server is called. gunicorn names its own where setproctitle is there.
TITLES = {
    "native": "perijove: worker 2 of shop",
    "wsgiref": "perijove: worker 2 of shop",
    "gevent": "perijove: worker 2 of shop",
    "uvicorn": "perijove: worker 2 of shop",
    "uwsgi": "shop uWSGI worker 2",
    "mod_wsgi": "shop",
}


@pytest.mark.parametrize("server", TITLES)
def test_processes_say_what_they_are(site: Start, server: str) -> None:
    one = site(server, PERIJOVE_SITE__PROCESS_NAME="shop")
    if server == "uvicorn":
        one.app = "asgi_app:application"
    one.start()
    # Behind Apache's the system still shows its arguments.
    until(lambda: any(title.startswith(TITLES[server]) for title in titles(one)))
    # What the application sees of its own arguments and variables is as before.
    seen = one.ask("/process").json()
    assert "perijove: worker" not in " ".join(seen["argv"])
    assert one.left(), "their environment can still be read"


def titles(one: Served) -> set[str]:
    """What the processes of a site are called, as `ps` shows it."""
    found = [Path(f"/proc/{pid}/cmdline") for pid in one.left()]
    lines = [path.read_bytes() for path in found if path.exists()]
    return {line.rstrip(b"\0").replace(b"\0", b" ").decode() for line in lines}


USERS = ("native", "wsgiref", "gevent", "gunicorn", "uwsgi", "mod_wsgi", "uvicorn", "command")


@pytest.mark.parametrize("server", USERS)
def test_workers_run_as_the_account_that_is_named(site: Start, server: str) -> None:
    one = site(server, PERIJOVE_SITE__USER="nobody", HOME="/nonexistent")
    if server == "command":
        one.command = '["gunicorn", "--bind", "unix:{socket}", "wsgi_app:application"]'
    # Everybody's, as /tmp is, and looked at in the end.
    (one.folder / "tmp").mkdir()
    (one.folder / "tmp").chmod(0o1777)
    one.environment["TMPDIR"] = str(one.folder / "tmp")
    if os.getuid() != 0:
        assert one.begin().wait(60) == 78
        assert 'only root can run something as "nobody"' in one.logged()
        return
    one.start()
    for _ in range(4):
        seen = one.ask("/process").json()
        assert (seen["uid"], seen["groups"]) == (nobody().pw_uid, [nobody().pw_gid])
    # A worker that has ended is replaced by one of the same account.
    os.kill(seen["pid"], signal.SIGKILL)
    until(lambda: one.ask("/process").status == 200)
    one.reload()
    until(lambda: one.ask("/process").json()["pid"] != seen["pid"])
    assert one.end() == 0
    assert not list((one.folder / "tmp").glob("perijove-web-*"))


def nobody() -> pwd.struct_passwd:
    return pwd.getpwnam("nobody")


@pytest.mark.parametrize("server", ["gunicorn", "uwsgi", "mod_wsgi"])
def test_a_server_that_is_killed_leaves_no_process_behind(site: Start, server: str) -> None:
    one = site(server)
    one.start()
    assert one.process is not None
    before = {*one.left()} - {one.process.pid}
    # What is tried for notebooks beside it comes later, and goes.
    first, *_ = children(one.process.pid)
    os.kill(first, signal.SIGKILL)
    until(lambda: not before & {*one.left()})
    assert one.ask("/environ").status == 200
    # Nobody tells them that perijove is gone but the system.
    one.process.kill()
    until(lambda: not one.left())


def children(pid: int) -> list[int]:
    return [int(child) for child in Path(f"/proc/{pid}/task/{pid}/children").read_text().split()]
