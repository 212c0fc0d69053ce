"""What `pip install` and `cargo install` leave behind, and that it works from there."""

from __future__ import annotations

import os
import re
import select
import signal
import subprocess
import sys
import threading
import urllib.request
import zipfile
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest

TREE = Path(__file__).resolve().parents[2]
WHEEL = TREE / "target/venvs/wheel"
INSTALLED = WHEEL / "bin/perijove"

PATIENCE = 90


@contextmanager
def serving(command: Path, folder: Path, **environment: str) -> Iterator[str]:
    """The address at which `perijove serve` is ready, in a folder; it ends well."""
    log = folder / "log"
    with log.open("w") as errors:
        process = subprocess.Popen(
            [command, "serve", "--listen", "127.0.0.1:0"],
            cwd=folder,
            env=clean(folder) | environment,
            stdout=subprocess.PIPE,
            stderr=errors,
            text=True,
        )
    assert process.stdout is not None
    with process.stdout:
        came, _, _ = select.select([process.stdout], [], [], PATIENCE)
        ready = re.fullmatch(r"ready: (\S+)\n", process.stdout.readline() if came else "")
        try:
            assert ready is not None, log.read_text()
            yield ready[1]
        finally:
            process.send_signal(signal.SIGTERM)
            assert process.wait(PATIENCE) == 0, log.read_text()


def clean(folder: Path) -> dict[str, str]:
    """An environment that says nothing of perijove, and a home of its own."""
    return {"PATH": os.environ["PATH"], "HOME": str(folder)}


def get(url: str) -> str:
    with urllib.request.urlopen(url, timeout=PATIENCE) as answer:
        return str(answer.read().decode())


def smallest_site(folder: Path) -> Path:
    (folder / "app.py").write_text((TREE / "examples/wsgi/app.py").read_text())
    return folder


def test_the_wheel_has_command_extension_and_package() -> None:
    (wheel,) = (TREE / "dist").glob("perijove-*.whl")
    assert re.search(r"-cp310-abi3-\w+\.whl$", wheel.name)
    with zipfile.ZipFile(wheel) as archive:
        names = set(archive.namelist())
    for name in (
        "perijove/_worker.abi3.so",
        "perijove/_worker.pyi",
        "perijove/py.typed",
        "perijove/control.py",
        "perijove/worker/__main__.py",
        "perijove/notebook/__main__.py",
        "perijove/demo/production.ini",
        "perijove-0.1.0.data/scripts/perijove",
    ):
        assert name in names
    assert [name for name in names if "test" in name or "__pycache__" in name] == []


def test_the_installed_command_is_native() -> None:
    assert INSTALLED.read_bytes()[:4] in (b"\x7fELF", b"\xcf\xfa\xed\xfe")
    done = subprocess.run([INSTALLED, "--version"], capture_output=True, text=True, check=True)
    assert done.stdout == "perijove 0.1.0\n"


def test_the_installed_command_serves_a_site_of_another_environment(tmp_path: Path) -> None:
    site = smallest_site(tmp_path)
    with serving(INSTALLED, site, PERIJOVE_SITE__PYTHON=sys.executable) as url:
        assert get(f"{url}/ada") == "Hello, ada!\n"


@pytest.fixture(scope="module")
def bare(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The command as `cargo install` puts it; what is built already is not built again."""
    root = tmp_path_factory.mktemp("cargo")
    install = ["cargo", "install", "--quiet", "--locked", "--path", "crates/perijove"]
    places = ["--root", str(root), "--target-dir", str(TREE / "target"), "--no-track"]
    subprocess.run([*install, *places], cwd=TREE, check=True)
    return root / "bin/perijove"


def test_the_bare_command_serves_a_site_in_any_language(bare: Path, tmp_path: Path) -> None:
    class Elsewhere(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            body = f"elsewhere: {self.path}".encode()
            self.send_response(200)
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *_: object) -> None:
            pass

    with ThreadingHTTPServer(("127.0.0.1", 0), Elsewhere) as server:
        thread = threading.Thread(target=server.serve_forever, args=(0.05,))
        thread.start()
        upstream = f"http://127.0.0.1:{server.server_port}"
        (tmp_path / "perijove.toml").write_text(f'[site]\nupstream = "{upstream}"\n')
        with serving(bare, tmp_path) as url:
            assert get(f"{url}/a?b=c") == "elsewhere: /a?b=c"
        server.shutdown()
        thread.join()


def test_the_bare_command_says_what_to_install_for_python(bare: Path, tmp_path: Path) -> None:
    done = subprocess.run(
        [bare, "serve", "--listen", "127.0.0.1:0"],
        cwd=smallest_site(tmp_path),
        env=clean(tmp_path),
        capture_output=True,
        text=True,
        timeout=PATIENCE,
        check=False,
    )
    assert done.returncode == 69
    assert "pip install perijove" in done.stderr
    assert "site.upstream" in done.stderr
