"""The startup script in a real kernel: its variables, what it printed, what went wrong in it."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from queue import Empty

import pytest
from fake_control import PACKAGES
from jupyter_client.blocking.client import BlockingKernelClient
from jupyter_client.manager import KernelManager

LOADER = Path(PACKAGES[0]) / "perijove/notebook/startup_loader.py"

#: Seconds for a kernel on a busy machine.
PATIENCE = 60

Start = Callable[..., "Kernel"]


class Kernel:
    """A kernel as a notebook of perijove's has it, and what its cells show."""

    def __init__(self, client: BlockingKernelClient) -> None:
        self.client = client

    def run(self, code: str) -> str:
        """All that one cell shows, in order."""
        shown = []
        request = self.client.execute(code)
        while True:
            message = self.client.get_iopub_msg(timeout=PATIENCE)
            if message["parent_header"].get("msg_id") != request:
                continue
            content = message["content"]
            match message["msg_type"]:
                case "stream":
                    shown.append(content["text"])
                case "execute_result":
                    shown.append(content["data"]["text/plain"])
                case "error":
                    shown.append(f"{content['ename']}: {content['evalue']}")
                case "status" if content["execution_state"] == "idle":
                    return "".join(shown)


@pytest.fixture
def start(tmp_path: Path) -> Iterator[Start]:
    managers = []

    def start(script: str, **environment: str) -> Kernel:
        path = tmp_path / "startup.py"
        path.write_text(script)
        manager = KernelManager(kernel_name="python3")
        manager.kernel_cmd = [sys.executable, "-m", "ipykernel_launcher", "-f", "{connection_file}"]
        manager.start_kernel(
            cwd=str(tmp_path),
            env={
                "PATH": os.environ["PATH"],
                "HOME": str(tmp_path),
                "IPYTHONDIR": str(tmp_path / "ipython"),
                "PYTHONSTARTUP": str(LOADER),
                "PERIJOVE_STARTUP": str(path),
                **environment,
            },
        )
        managers.append(manager)
        client = manager.blocking_client()
        client.start_channels()
        client.wait_for_ready(timeout=PATIENCE)
        return Kernel(client)

    yield start
    for manager in managers:
        manager.shutdown_kernel(now=True)
        manager.cleanup_resources()


def test_its_variables_are_there_and_its_output_comes_before_the_first_cells(start: Start) -> None:
    kernel = start("a = 'foo'\nprint('hello from the site')")
    assert kernel.run("a") == "hello from the site\n'foo'"
    assert kernel.run("a") == "'foo'"


def test_an_exception_is_shown_and_ends_nothing(start: Start) -> None:
    kernel = start("a = 1\nraise ValueError('not today')\nb = 2")
    shown = kernel.run("a")
    assert "ValueError: not today" in shown
    assert "startup.py" in shown
    assert shown.endswith("1")


def test_a_missing_module_is_one_line(start: Start) -> None:
    kernel = start("import no_such_thing\na = 1\nfrom no_such_thing.models import Order")
    first, last = kernel.run("a").splitlines()
    assert first.startswith("startup: not installed for ")
    assert last == "1"


def test_sites_modules_may_import_perijove(start: Start) -> None:
    """The environment has none; what a site imports in its workers it may import here."""
    kernel = start("import perijove.startup\nfrom perijove.control import Control, NotServed")
    assert kernel.run("perijove.__file__") == repr(str(Path(PACKAGES[0]) / "perijove/__init__.py"))
    # And no way to perijove itself.
    assert "does not run under perijove" in kernel.run("Control()")


def test_the_users_own_startup_file_runs_too(start: Start, tmp_path: Path) -> None:
    own = tmp_path / "own.py"
    own.write_text("mine = 'own'")
    kernel = start("a = 1", PERIJOVE_PYTHONSTARTUP=str(own))
    assert kernel.run("mine, a") == "('own', 1)"


def test_no_name_of_ours_is_left(start: Start) -> None:
    kernel = start("a = 1")
    assert kernel.run("[name for name in globals() if 'perijove' in name]") == "[]"
    with pytest.raises(Empty):
        kernel.client.get_iopub_msg(timeout=0.05)
