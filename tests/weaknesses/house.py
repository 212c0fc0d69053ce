"""A back office that was written for pyramid_notebook, served by perijove, and its visitors."""

from __future__ import annotations

import http.client
import json
import os
import re
import socket
import sqlite3
import sys
import time
import urllib.parse
from collections.abc import Callable, Iterator, Mapping
from contextlib import closing, contextmanager
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "examples"))

import kernel
from example import PATIENCE, TREE, Example

#: The program as cargo builds it, with the package of the source tree.
BUILT = TREE / "target/release/perijove"

#: Users of the back office; all but the last may have a shell.
PEOPLE = ("ada", "bob", "carl", "dora", "Ada", "../../evil", "/etc/evil", "a/b", "guest")

#: Views beside those of the example: a shell with another context for each record, one whose
#: permission was forgotten, further ones by name.
MORE = '''\
"""Views that a site of pyramid_notebook's might have."""

from pyramid.response import Response
from pyramid.view import view_config
from pyramid_notebook import startup
from pyramid_notebook.views import launch_notebook
from perijove.pyramid import launch_notebook as launch_named


def includeme(config):
    config.add_route("record_shell", "/records/{id}/shell")
    config.add_route("careless_shell", "/careless/shell")
    config.add_route("named_shell", "/named/{name}/shell")
    config.add_route("optimised", "/optimised")


@view_config(route_name="record_shell", permission="shell")
def record_shell(request):
    nb = {}
    startup.make_startup(nb, None)
    startup.add_script(nb, f"record = {request.matchdict['id']!r}")
    return launch_notebook(request, request.user.username, notebook_context=nb)


@view_config(route_name="careless_shell")
def careless_shell(request):
    name = request.user.username if request.user else None
    return launch_notebook(request, name, notebook_context={})


@view_config(route_name="named_shell", permission="shell")
def named_shell(request):
    user, name = request.user.username, request.matchdict["name"]
    return launch_named(request, user, {}, name, when_busy="replace")


@view_config(route_name="optimised")
def optimised(request):
    return Response(str(not __debug__))
'''

SETTINGS = """
[notebook]
path = "/notebook/"
site-paths = ["shutdown"]
kill-timeout = "10m"
max-per-user = 2
limits = { memory = "2G", files = 4096 }
"""

FOLLOWED = {
    "Sec-Fetch-Site": "cross-site",
    "Sec-Fetch-Mode": "navigate",
    "Sec-Fetch-Dest": "document",
}


class Answer:
    def __init__(self, answer: http.client.HTTPResponse) -> None:
        self.status, self.headers = answer.status, answer.headers
        self.body = answer.read()

    @property
    def text(self) -> str:
        return self.body.decode(errors="replace")

    @property
    def place(self) -> str:
        """Where it leads to, as a path."""
        return urllib.parse.urlsplit(self.headers["Location"] or "").path


class Visitor:
    """A browser of somebody's, as far as it is needed: cookies and the fields of a page."""

    def __init__(self, address: str, name: str = "") -> None:
        self.address, self.name = address, name
        self.cookie = ""
        if name:
            form = urllib.parse.urlencode({"username": name, "password": "password"})
            kind = {"Content-Type": "application/x-www-form-urlencoded"}
            answer = self.ask("/login", "POST", form.encode(), kind)
            assert answer.status == 302, answer.text
            self.cookie = answer.headers["Set-Cookie"].split(";")[0]

    @property
    def base(self) -> str:
        return f"/notebook/{urllib.parse.quote(self.name, safe='-_~').replace('.', '%2E')}/"

    def ask(
        self,
        path: str,
        method: str = "GET",
        body: Any = None,
        fields: Mapping[str, str] | None = None,
    ) -> Answer:
        connection = http.client.HTTPConnection(self.address, timeout=PATIENCE)
        with closing(connection):
            fields = self.fields | dict(fields or {})
            is_chunked = "Transfer-Encoding" in fields
            connection.request(method, path, body, fields, encode_chunked=is_chunked)
            return Answer(connection.getresponse())

    @property
    def fields(self) -> dict[str, str]:
        fields = {"Origin": f"http://{self.address}"}
        return fields | ({"Cookie": self.cookie} if self.cookie else {})

    def click(self, path: str) -> str:
        """Opens a shell and waits until it is there; where it is."""
        answer = self.ask(path)
        assert answer.status == 302, answer.text
        self.until_ready()
        return answer.place

    def until_ready(self) -> None:
        deadline = time.monotonic() + PATIENCE
        while (answer := self.ask(f"{self.base}api/kernels")).status != 200:
            assert time.monotonic() < deadline, answer.text
            time.sleep(0.1)

    def kernel(self) -> Callable[[str], str]:
        """A new kernel: runs cells, and says what they show."""
        url = f"http://{self.address}"
        place = kernel.start(url, self.base, self.fields)
        return lambda code: kernel.run(url, place, self.fields, code)

    def json(self, path: str) -> Any:
        answer = self.ask(f"{self.base}{path}")
        assert answer.status == 200, answer.text
        return json.loads(answer.body)

    def handshake(self, path: str, fields: Mapping[str, str] | None = None) -> int:
        """The status of a websocket's handshake."""
        return self.ask(path, fields=UPGRADE | dict(fields or {})).status


UPGRADE = {
    "Connection": "Upgrade",
    "Upgrade": "websocket",
    "Sec-WebSocket-Version": "13",
    "Sec-WebSocket-Key": "AAAAAAAAAAAAAAAAAAAAAA==",
}


class House:
    """The back office in a folder of its own."""

    def __init__(self, folder: Path, settings: str = SETTINGS) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        self.served = Example("pyramid-notebook-site", folder, command=BUILT)
        self.root = self.served.root
        self.run = folder / "run"
        (self.root / "backoffice/more.py").write_text(MORE)
        ini = self.root / "development.ini"
        more = "pyramid_tm\npyramid.includes = pyramid_tm backoffice.more"
        text = ini.read_text().replace("pyramid.includes = pyramid_tm", more.partition("\n")[2])
        people = "".join(f"    {name}\n" for name in PEOPLE[:-1])
        ini.write_text(text.replace("    maija@example.com\n", people))
        with (self.root / "perijove.toml").open("a") as file:
            file.write(settings)
        # Whatever is checked with `assert` would not be checked.
        self.served.environment |= {
            "PYTHONOPTIMIZE": "2",
            "PERIJOVE_LOG__ACCESS": "off",
            "DATABASE_URL": "postgres://the-sites-secret",
            "PERIJOVE_TRUSTED_PROXIES": '["127.0.0.1/32"]',
        }

    def serve(self) -> House:
        self.served.serve()
        with self.database() as database:
            known = [name for (name,) in database.execute("SELECT username FROM users")]
            for name in set(PEOPLE) - set(known):
                database.execute("INSERT INTO users (username, enabled) VALUES (?, 1)", (name,))
        return self

    @contextmanager
    def database(self) -> Iterator[sqlite3.Connection]:
        path = self.root / "var/backoffice.sqlite"
        with closing(sqlite3.connect(path, timeout=PATIENCE)) as database, database:
            yield database

    @property
    def address(self) -> str:
        return urllib.parse.urlsplit(self.served.url).netloc

    def visitor(self, name: str = "") -> Visitor:
        return Visitor(self.address, name)

    def tell(self, *arguments: str) -> str:
        return self.served.tell(*arguments)

    def notebook(self, user: str) -> dict[str, Any]:
        told: dict[str, Any] = json.loads(self.tell("notebook", "status", user, "--json"))
        return told

    def server(self, user: str) -> int:
        """The process of a user's notebook that answers; a guardian holds it."""
        guardian = self.notebook(user)["pid"]
        notes = [json.loads(p.read_text()) for p in self.state.glob("notebooks/*/status.json")]
        return next(int(one["server"]) for one in notes if one["guardian"]["pid"] == guardian)

    def running(self) -> list[str]:
        return [entry["user"] for entry in json.loads(self.tell("notebook", "list", "--json"))]

    def end(self, user: str) -> None:
        if user in self.running():
            self.tell("notebook", "stop", user)

    def records(self) -> list[dict[str, Any]]:
        """What perijove has saved of its notebooks."""
        path = self.state / "state.db"
        with closing(sqlite3.connect(path, timeout=PATIENCE)) as database:
            return [json.loads(text) for (text,) in database.execute("SELECT record FROM server")]

    @property
    def state(self) -> Path:
        return Path(self.served.environment["PERIJOVE_STATE_FOLDER"])

    @property
    def folders(self) -> Path:
        return self.root / "var/notebooks"

    def socket_of(self, server: int) -> str:
        """The socket that a notebook's server listens on."""
        place = socket_paths().intersection(map(str, self.run.glob("notebook/*/sock")))
        owned = inodes(server)
        found = {path for path, number in unix_sockets() if number in owned and path in place}
        assert len(found) == 1, found
        return found.pop()

    def check(self, **environment: str) -> str:
        """What `perijove check` says of these settings."""
        before = dict(self.served.environment)
        self.served.environment |= environment
        try:
            return self.served.ask("check").stderr
        finally:
            self.served.environment = before

    def stop(self) -> None:
        if self.served.process is not None and self.served.process.poll() is None:
            self.tell("notebook", "stop", "--all")
        self.served.stop()


def descendants(process: int) -> set[int]:
    """It, and all that it has started."""
    parents: dict[int, int] = {}
    for entry in Path("/proc").glob("[0-9]*"):
        with_stat = read(entry / "stat").rpartition(")")[2].split()
        if with_stat:
            parents[int(entry.name)] = int(with_stat[1])
    found, waiting = set(), {process}
    while waiting:
        found |= waiting
        waiting = {child for child, parent in parents.items() if parent in waiting} - found
    return found


def read(path: Path) -> str:
    try:
        return path.read_bytes().decode(errors="replace")
    except OSError:
        return ""


def inodes(process: int) -> set[int]:
    """The sockets that a process holds."""
    found = set()
    for descriptor in Path(f"/proc/{process}/fd").iterdir():
        try:
            name = os.readlink(descriptor)
        except OSError:
            continue
        if match := re.fullmatch(r"socket:\[(\d+)\]", name):
            found.add(int(match[1]))
    return found


def listening(process: int) -> list[str]:
    """The TCP addresses that a process listens on, as the kernel writes them."""
    owned, found = inodes(process), []
    for name in ("tcp", "tcp6"):
        for line in Path(f"/proc/net/{name}").read_text().splitlines()[1:]:
            fields = line.split()
            if fields[3] == "0A" and int(fields[9]) in owned:
                found.append(fields[1])
    return found


def unix_sockets() -> list[tuple[str, int]]:
    lines = [line.split() for line in Path("/proc/net/unix").read_text().splitlines()[1:]]
    return [(line[7], int(line[6])) for line in lines if len(line) > 7]


def socket_paths() -> set[str]:
    return {path for path, _ in unix_sockets()}


def ask_socket(path: str, method: str, target: str, **fields: str) -> int:
    """The status of a request over a Unix socket."""
    with socket.socket(socket.AF_UNIX) as stream:
        stream.settimeout(PATIENCE)
        stream.connect(path)
        lines = [f"{name.replace('_', '-')}: {value}\r\n" for name, value in fields.items()]
        head = f"{method} {target} HTTP/1.1\r\nHost: localhost\r\n{''.join(lines)}\r\n"
        stream.sendall(head.encode())
        return int(stream.recv(100).split()[1])
