"""What passes between a notebook and its pages: large files, long silence, lost connections."""

from __future__ import annotations

import base64
import hashlib
import json
import os
import random
import time
from collections.abc import Callable, Iterator
from contextlib import closing
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import pytest
from cable import cable
from member import Kernel, Member
from site_under_test import PATIENCE, Site
from websockets.sync.client import ClientConnection

Start = Callable[..., Site]

MIB = 1 << 20
#: Bytes of a large file; the long tier (`make test-all`) takes files of 1 GiB as well.
SIZES = [64 * MIB, 1024 * MIB] if os.environ.get("PERIJOVE_TEST_LONG") else [64 * MIB]

#: Seconds: how long perijove waits for anything in this test, but for a websocket.
SHORT = 1
#: Longer than all of it together.
SILENCE = 6

#: Says a number every tenth of a second.
COUNT = "import time\nfor n in range({}):\n    print(n, flush=True)\n    time.sleep(0.1)"

#: Bytes by which perijove's memory may grow, whatever passes.
GROWTH = 32 * MIB


def furnish(site: Site) -> None:
    names = ("head-time", "idle-time", "transfer-time", "half-closed-time")
    limits = "\n".join(f'{name} = "{SHORT}s"' for name in names)
    site.set(f"[limits]\n{limits}")


@pytest.fixture(scope="module")
def site(start_once: Start) -> Site:
    site = start_once(prepare=furnish, PERIJOVE_SITE__RESPONSE_TIME=f"{3 * SHORT}s")
    site.launch("user", {})
    site.wait("user", lambda entry: entry["state"] == "ready")
    return site


@pytest.fixture(scope="module")
def member(site: Site) -> Member:
    return Member(site.url, "user")


@pytest.fixture
def kernel(member: Member) -> Iterator[str]:
    """A kernel of its own."""
    made = str(member.ask("POST", "api/kernels", {})["id"])
    yield made
    member.ask("DELETE", f"api/kernels/{made}")


def test_a_websocket_may_be_silent_for_longer_than_anything_else_is_waited_for(
    member: Member, kernel: str
) -> None:
    name = member.ask("POST", "api/terminals", {})["name"]
    page = Kernel(member, kernel)
    with member.websocket(f"terminals/websocket/{name}") as terminal, page.connected():
        _type(terminal, "echo $((5 * 5))")
        _until(terminal, "25")
        assert _is_silent(terminal, SILENCE)
        _type(terminal, "echo $((6 * 7))")
        _until(terminal, "42")
        assert page.run("6 * 7") == "42"


def test_what_a_kernel_says_while_the_line_is_dead_comes_with_the_next_one(
    site: Site, member: Member, kernel: str
) -> None:
    page = Kernel(member, kernel)
    with cable(urlsplit(site.url).netloc) as line, page.connected(line.address):
        assert page.run(COUNT.format(2)) == "0\n1\n"
        parent = page.send(COUNT.format(40))
        seen = page.shown(parent, until="9\n")
        line.cut()
        # What comes now goes nowhere, and nobody knows.
        seen += page.shown_within(1.5, parent)
        with page.connected():
            seen += page.shown(parent)
            assert page.run("6 * 7") == "42"
    # What had come when the line went dead, but was not confirmed, comes twice.
    assert list(dict.fromkeys(seen.split())) == [str(n) for n in range(40)]
    assert len(seen.split()) < 45


def test_what_a_kernel_says_while_the_page_is_away_waits_for_it(
    member: Member, kernel: str
) -> None:
    page = Kernel(member, kernel)
    with page.connected():
        parent = page.send(COUNT.format(20))
        seen = page.shown(parent, until="3\n")
    time.sleep(1)
    with page.connected():
        seen += page.shown(parent)
        assert page.run("6 * 7") == "42"
    assert seen == "".join(f"{n}\n" for n in range(20))


@pytest.mark.parametrize("size", SIZES)
def test_large_files_go_up_and_down_and_perijove_stays_small(
    site: Site, member: Member, size: int
) -> None:
    file = site.folder / "large"
    digest = _write(file, size)
    before = _peak(site)

    # As one body, a third longer than the file; and in pieces, as JupyterLab sends them.
    _put(member, "whole.bin", file, size)
    _put(member, "pieces.bin", file, 16 * MIB)
    for name in ("whole.bin", "pieces.bin"):
        there = site.home("user") / name
        assert (there.stat().st_size, _digest(there)) == (size, digest), name
        there.rename(site.home("user") / "large.bin")

    with closing(member.connection()) as connection:
        connection.request("GET", "/notebook/user/files/large.bin", headers=member.fields)
        answer = connection.getresponse()
        assert (answer.status, answer.headers["Content-Length"]) == (200, str(size))
        found = hashlib.sha256()
        while piece := answer.read(MIB):
            found.update(piece)
        assert found.hexdigest() == digest
    assert _peak(site) - before < GROWTH


def _put(member: Member, name: str, file: Path, piece: int) -> None:
    """Saves a file by the contents API in pieces of so many bytes."""
    count = -(-file.stat().st_size // piece)
    for number in range(count):
        # The last is -1; a file that is one piece has no number.
        chunk = None if count == 1 else -1 if number == count - 1 else number + 1
        with closing(member.connection()) as connection:
            fields = {"Content-Type": "application/json", **member.fields}
            path = f"/notebook/{member.name}/api/contents/{name}"
            body = _saving(file, number * piece, piece, chunk)
            connection.request("PUT", path, body, fields, encode_chunked=True)
            answer = connection.getresponse()
            told = answer.read()
        assert answer.status in (200, 201), (answer.status, told)


def _saving(file: Path, at: int, length: int, chunk: int | None) -> Iterator[bytes]:
    """The body of a save, made as it is sent."""
    head: dict[str, Any] = {"type": "file", "format": "base64"}
    if chunk is not None:
        head["chunk"] = chunk
    yield json.dumps(head)[:-1].encode() + b', "content": "'
    with file.open("rb") as source:
        source.seek(at)
        while length > 0 and (piece := source.read(min(length, 3 * 256 * 1024))):
            length -= len(piece)
            yield base64.b64encode(piece)
    yield b'"}'


def _write(path: Path, size: int) -> str:
    """Fills a file with what cannot be compressed; its digest."""
    random_bytes, digest = random.Random(size), hashlib.sha256()
    with path.open("wb") as file:
        for _ in range(size // MIB):
            piece = random_bytes.randbytes(MIB)
            digest.update(piece)
            file.write(piece)
    return digest.hexdigest()


def _digest(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _peak(site: Site) -> int:
    """The most memory that perijove has had resident, in bytes."""
    assert site.process is not None
    status = Path(f"/proc/{site.process.pid}/status").read_text()
    (line,) = (line for line in status.splitlines() if line.startswith("VmHWM:"))
    return int(line.split()[1]) * 1024


def _type(terminal: ClientConnection, line: str) -> None:
    terminal.send(json.dumps(["stdin", f"{line}\r"]))


def _is_silent(terminal: ClientConnection, seconds: float) -> bool:
    """Waits until nothing has come for so long; a closed one is an error."""
    deadline = time.monotonic() + PATIENCE
    while time.monotonic() < deadline:
        try:
            terminal.recv(seconds)
        except TimeoutError:
            return True
    return False


def _until(terminal: ClientConnection, text: str) -> None:
    """Reads what a terminal writes until that has come."""
    seen, deadline = "", time.monotonic() + PATIENCE
    while text not in seen:
        assert time.monotonic() < deadline, seen
        kind, *rest = json.loads(terminal.recv(PATIENCE))
        if kind == "stdout":
            seen += rest[0]
