"""A user who works: counts in a kernel, saves files, looks whether all is as it was left."""

from __future__ import annotations

import random
import threading
import time
import uuid
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import nbformat
from client import Channels, Client, Trouble
from served import MEMORY

#: Whose the kernel is, which one it is, how far it has counted, its process.
LOOK = (
    "import os\nprint(owner, globals().get('born'), globals().get('n'), os.getpid(), "
    "os.path.basename(os.environ['HOME']))"
)
COUNT = "n += 1\nprint(owner, born, n)"
#: Seconds until whoever comes back must be at work: on a busy machine a server is started while
#: perijove is, and both several times.
ABSENCE = 240.0
#: Lines of a file that is saved: long enough that half of it could be written.
LINES = 3000


@dataclass
class Seen:
    """What all of them have seen."""

    counts: int = 0
    saves: int = 0
    refused_saves: int = 0
    read_back: int = 0
    trespasses: int = 0
    returns: int = 0
    mourned: int = 0
    longest_absence: float = 0.0
    wrong: list[str] = field(default_factory=list)
    troubles: dict[str, int] = field(default_factory=dict)
    lock: threading.Lock = field(default_factory=threading.Lock)

    def add(self, **numbers: float) -> None:
        with self.lock:
            for name, number in numbers.items():
                setattr(self, name, getattr(self, name) + number)

    def complain(self, what: str) -> None:
        with self.lock:
            self.wrong.append(f"{time.strftime('%H:%M:%S')} {what}")

    def trouble(self, what: str) -> None:
        with self.lock:
            self.troubles[what[:70]] = self.troubles.get(what[:70], 0) + 1


@dataclass
class File:
    """What must be in a file: what was acknowledged last, or an attempt after that."""

    name: str
    kept: bytes | None = None
    attempts: list[bytes] = field(default_factory=list)

    def acknowledged(self, text: bytes) -> None:
        self.kept, self.attempts = text, []

    def holds(self, text: bytes | None) -> bool:
        return text == self.kept or text in self.attempts


class Mortal:
    """Somebody whose kernels are killed on purpose now and then, and never otherwise."""

    def __init__(self, name: str, seen: Seen) -> None:
        self.name, self.seen = name, seen
        self._killed = self._mourned = 0
        self._lock = threading.Lock()

    def kill(self, kill: Callable[[], bool]) -> bool:
        """Kills something of this user's; whether it was there."""
        with self._lock:
            is_done = kill()
            self._killed += is_done
            return is_done

    def deaths(self) -> int:
        """To be asked for before a look whether the kernel lives."""
        with self._lock:
            return self._killed

    def mourn(self, deaths: int, how: str) -> None:
        """The kernel is gone: somebody must have killed it before the look."""
        if deaths > self._mourned:
            self._mourned = deaths
            self.seen.add(mourned=1)
        else:
            self.seen.complain(f"{self.name} has lost a kernel that nobody killed: {how}")


class User(Mortal, threading.Thread):
    def __init__(self, address: str, name: str, others: list[str], seed: int, seen: Seen) -> None:
        threading.Thread.__init__(self, name=name, daemon=True)
        Mortal.__init__(self, name, seen)
        self.client, self.others = Client(address, name), others
        self.random = random.Random(seed)
        self.stopping = threading.Event()
        self.hungry = threading.Event()
        #: Set once a kernel of this user's has counted.
        self.at_work = threading.Event()
        self.kernel, self.born, self.process = "", "", 0
        self.count = self.sent = self.serial = 0
        kinds = [f"work-{number}.ipynb" for number in range(3)]
        self.files = [File(name) for name in [*kinds, "notes-0.txt", "notes-1.txt"]]
        self.worked_at = time.monotonic()

    # --- the day's work

    def run(self) -> None:
        try:
            while not self.stopping.is_set():
                try:
                    self.come_and_work()
                except Trouble as trouble:
                    self.seen.trouble(str(trouble))
                    self.stopping.wait(self.random.uniform(0.05, 0.3))
                if time.monotonic() - self.worked_at > ABSENCE:
                    self.seen.complain(f"{self.name} has been kept out for {ABSENCE:.0f} s")
                    self.worked_at = time.monotonic()
        except Exception as error:
            self.seen.complain(f"{self.name} cannot go on: {error!r}")

    def come_and_work(self) -> None:
        channels = self.come()
        try:
            self.seen.add(returns=1)
            while not self.stopping.is_set():
                self.work(channels)
                self.stopping.wait(self.random.uniform(0, 0.6))
        finally:
            channels.close()

    def come(self) -> Channels:
        """To the kernel that was left, or to the first one."""
        status, _ = self.client.ask("GET", "/shell")
        if status not in (302, 303):
            raise Trouble(f"GET /shell: {status}")
        deaths = self.deaths()
        running = [kernel["id"] for kernel in self.client.get("api/kernels")]
        if self.kernel and self.kernel not in running:
            self.mourn(deaths, f"{self.kernel} is not among {running}")
            self.kernel = self.born = ""
        if not self.kernel:
            self.kernel = running[0] if running else self._new_kernel()
        channels = self.client.channels(self.kernel)
        try:
            self.know(channels)
        except Trouble:
            channels.close()
            raise
        return channels

    def _new_kernel(self) -> str:
        status, made = self.client.ask("POST", f"{self.client.base}api/kernels", {})
        if status != 201:
            raise Trouble(f"POST api/kernels: {status}")
        return str(made["id"])

    def know(self, channels: Channels) -> None:
        """Is it mine, the one I left, and has it counted as far as I know?"""
        deaths = self.deaths()
        told = channels.run(LOOK, 10).split()
        if len(told) != 5:
            raise Trouble(f"a look: {' '.join(told)}")
        owner, born, count, process, home = told
        if (owner, home) != (self.name, self.name):
            self.seen.complain(f"{self.name} is in a kernel of {owner}, at home in {home}")
        if self.born and born != self.born:
            self.mourn(deaths, f"another one ({born}) has its place")
            self.born = ""
        if not self.born:
            self.born, self.count, self.sent = uuid.uuid4().hex, 0, 0
            born_now = channels.run(f"born, n = {self.born!r}, 0\nprint(born)")
            if born_now != self.born:
                raise Trouble("a new kernel did not take its name")
        else:
            self._counted(int(count), 0)
        self.process = int(process)

    def _counted(self, count: int, least: int) -> None:
        if not self.count + least <= count <= self.count + self.sent:
            self.seen.complain(
                f"{self.name} has counted to {self.count} and asked {self.sent} times more, and "
                f"the kernel is at {count}"
            )
        self.count, self.sent = count, 0

    def work(self, channels: Channels) -> None:
        if self.hungry.is_set():
            self.eat(channels)
        self.sent += 1
        told = channels.run(COUNT).split()
        if len(told) != 3:
            raise Trouble(f"counting: {' '.join(told)}")
        if told[0] != self.name or told[1] != self.born:
            raise Trouble("another kernel has counted")
        self._counted(int(told[2]), 1)
        self.seen.add(counts=1)
        self.note_presence()
        self.random.choice([self.save, self.save, self.read_back, self.trespass])()

    def note_presence(self) -> None:
        now = time.monotonic()
        if self.serial:
            with self.seen.lock:
                absence = now - self.worked_at
                self.seen.longest_absence = max(self.seen.longest_absence, absence)
        self.worked_at = now
        self.at_work.set()

    # --- files

    def save(self) -> None:
        self.serial += 1
        file = self.files[self.serial % len(self.files)]
        model, text = self.version(file.name)
        file.attempts.append(text)
        path = f"{self.client.base}api/contents/{file.name}"
        status, told = self.client.ask("PUT", path, model)
        if status in (200, 201):
            file.acknowledged(text)
            self.seen.add(saves=1)
        else:
            self.seen.add(refused_saves=1)
            self.seen.trouble(f"a save: {status} {told!r}")

    def version(self, name: str) -> tuple[dict[str, Any], bytes]:
        """A new version of a file: what is sent, and what must then be on the disk."""
        line = f"{self.name} {name} {self.serial}\n"
        text = line * self.random.randrange(1, LINES)
        if name.endswith(".txt"):
            return {"type": "file", "format": "text", "content": text}, text.encode()
        cell = nbformat.v4.new_code_cell(f"serial = {self.serial}", id="one")
        cell.outputs = [nbformat.v4.new_output("stream", name="stdout", text=text)]
        notebook = nbformat.v4.new_notebook(cells=[cell])
        written = nbformat.writes(notebook, nbformat.NO_CONVERT) + "\n"
        return {"type": "notebook", "format": "json", "content": notebook}, written.encode()

    def read_back(self) -> None:
        file = self.random.choice(self.files)
        status, text = self.client.ask("GET", f"{self.client.base}files/{file.name}")
        # What is not there may be the notebook, as well: on the disk it is looked at in the end.
        if status == 200:
            self.check(file, text)
            self.seen.add(read_back=1)

    def check(self, file: File, text: bytes | None) -> None:
        if not file.holds(text):
            size = "nothing" if text is None else f"{len(text)} bytes"
            wanted = [len(one) for one in [file.kept or b"", *file.attempts]]
            self.seen.complain(f"{self.name}'s {file.name} holds {size}, of {wanted}")

    # --- what must not be, and what may end a kernel

    def trespass(self) -> None:
        other = self.random.choice(self.others)
        status, _ = self.client.ask("GET", f"/notebook/{other}/api/contents")
        if status == 200:
            self.seen.complain(f"{self.name} has seen the files of {other}")
        self.seen.add(trespasses=1)
        me = self.client.get("api/me")["identity"]["username"]
        if me != self.name:
            self.seen.complain(f"{self.name} is {me} in the notebook that answers")

    def eat(self, channels: Channels) -> None:
        """Takes more memory than a notebook may have."""
        self.hungry.clear()
        self.kill(lambda: True)
        try:
            told = channels.run(f"eaten = b'x' * {2 * MEMORY}")
        except Trouble:
            return
        # Without a control group the kernel is refused the memory and lives.
        self.seen.trouble(f"a kernel that ate lives: {told}")
        with self._lock:
            self._killed -= 1
