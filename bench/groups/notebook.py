"""From click to ready notebook, and from execute to answer: perijove, JupyterHub, plain Jupyter.

The servers have both CPUs, as the clients do: a click is one person's.
"""

from __future__ import annotations

import contextlib
import http.client
import json
import os
import subprocess
import time
import uuid
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from statistics import median

import peers
from measure import descendants, free_port, proportional_kib
from servers import SITES, Server, Tools, running, start

from bench import Bench

EXECUTIONS = 100
# Who come one after the other to each server that was started.
USERS = 3


@dataclass
class Jupyter:
    """A Jupyter server as its user reaches it."""

    address: str
    base: str
    headers: dict[str, str] = field(default_factory=dict)
    # Its user's.
    home: Path = Path("/nonexistent")

    def request(
        self, method: str, path: str, body: object = None
    ) -> tuple[int, bytes, dict[str, str]]:
        connection = http.client.HTTPConnection(self.address, timeout=60)
        with contextlib.closing(connection):
            payload = None if body is None else json.dumps(body)
            connection.request(method, path, payload, self.headers)
            answer = connection.getresponse()
            return answer.status, answer.read(), dict(answer.getheaders())

    def wait_ready(self, seconds: float = 60) -> None:
        end = time.monotonic() + seconds
        while time.monotonic() < end:
            with contextlib.suppress(OSError, http.client.HTTPException):
                status, body, _ = self.request("GET", f"{self.base}api/status")
                if status == 200 and b"last_activity" in body:
                    return
            time.sleep(0.01)
        raise TimeoutError(f"no Jupyter at {self.address}{self.base}")

    def start_kernel(self) -> str:
        status, body, _ = self.request("POST", f"{self.base}api/kernels", {"name": "python3"})
        if status != 201:
            raise RuntimeError(f"no kernel: {status} {body[:300]!r}")
        identity: str = json.loads(body)["id"]
        return identity

    def answer_on_zeromq(self) -> float:
        """Seconds from POST of a kernel to its answer on its own sockets."""
        from jupyter_client import BlockingKernelClient

        begin = time.perf_counter()
        kernel = self.start_kernel()
        client = BlockingKernelClient()
        client.load_connection_file(
            str(self.home / f".local/share/jupyter/runtime/kernel-{kernel}.json")
        )
        client.start_channels(stdin=False, hb=False, control=False)
        identity = client.execute("1+1")
        answer = client.get_shell_msg(timeout=60)
        while answer["parent_header"].get("msg_id") != identity:
            answer = client.get_shell_msg(timeout=60)
        took = time.perf_counter() - begin
        if answer["content"]["status"] != "ok":
            raise RuntimeError(f"no answer: {answer['content']}")
        client.stop_channels()
        self.request("DELETE", f"{self.base}api/kernels/{kernel}")
        return took

    def execute_times(self, executions: int = EXECUTIONS) -> tuple[float, list[float]]:
        """Seconds from POST of a kernel to its first answer, then of each further execution. The
        kernel is left running when there are none of these."""
        import websocket

        begin = time.perf_counter()
        kernel = self.start_kernel()
        session = uuid.uuid4().hex
        channel = websocket.create_connection(
            f"ws://{self.address}{self.base}api/kernels/{kernel}/channels?session_id={session}",
            header=[f"{name}: {value}" for name, value in self.headers.items()],
            timeout=60,
        )
        with contextlib.closing(channel):
            times = []
            for count in range(executions + 1):
                sent = time.perf_counter()
                execute(channel, session)
                times.append(time.perf_counter() - sent)
                if count == 0:
                    first = time.perf_counter() - begin
        if executions:
            self.request("DELETE", f"{self.base}api/kernels/{kernel}")
        return first, times[1:]


def execute(channel, session: str) -> None:
    """Sends `1+1` and waits for its reply and for the kernel to be idle again."""
    identity = uuid.uuid4().hex
    header = {
        "msg_id": identity,
        "msg_type": "execute_request",
        "session": session,
        "username": "bench",
        "version": "5.3",
        "date": "",
    }
    content = {
        "code": "1+1",
        "silent": False,
        "store_history": False,
        "user_expressions": {},
        "allow_stdin": False,
        "stop_on_error": True,
    }
    channel.send(
        json.dumps(
            {
                "channel": "shell",
                "header": header,
                "parent_header": {},
                "metadata": {},
                "content": content,
                "buffers": [],
            }
        )
    )
    missing = {"reply", "idle"}
    while missing:
        message = json.loads(channel.recv())
        if message["parent_header"].get("msg_id") != identity:
            continue
        if message["msg_type"] == "execute_reply":
            missing.discard("reply")
        elif message["msg_type"] == "status" and message["content"]["execution_state"] == "idle":
            missing.discard("idle")


# Ready before the first user comes, as it is from the second one on in any case.
WARM = "warm = true\n"


def perijove_site(server: Server, tools: Tools, folder: Path, more: str = "") -> None:
    text = (
        f'[site]\nroot = "{SITES}"\napp = "door:application"\nworkers = 1\npython = "{tools.python}"\n'
        f'[notebook]\nfolder = "{folder}/notebooks"\npython = "{tools.python}"\n'
        f"max-notebooks = 200\n{more or WARM}"
    )
    peers.perijove(server, tools, folder, text)


def hub(server: Server, tools: Tools, folder: Path) -> None:
    (folder / "config.py").write_text(f"""
c.JupyterHub.bind_url = "http://{server.address}"
c.JupyterHub.hub_port = {free_port()}
c.ConfigurableHTTPProxy.api_url = "http://127.0.0.1:{free_port()}"
c.ConfigurableHTTPProxy.command = [{str(tools.node_modules / ".bin/configurable-http-proxy")!r}]
c.ConfigurableHTTPProxy.auth_token = "bench"
c.JupyterHub.spawner_class = "simple"
c.JupyterHub.authenticator_class = "dummy"
c.Authenticator.allow_all = True
c.SimpleLocalProcessSpawner.home_dir_template = "{folder}/homes/{{username}}"
c.Spawner.args = ["--allow-root"]
c.Spawner.start_timeout = c.Spawner.http_timeout = 300
c.JupyterHub.concurrent_spawn_limit = 0
c.JupyterHub.services = [{{"name": "bench", "api_token": "bench-token-bench-token"}}]
c.JupyterHub.load_roles = [{{"name": "bench", "services": ["bench"], "scopes":
    ["admin:users", "admin:servers", "access:servers"]}}]
""")
    environment = os.environ | {"PATH": f"{tools.python.parent}:{os.environ['PATH']}"}
    start(server, [tools.script("jupyterhub"), "-f", "config.py"], folder=folder, env=environment)


def jupyter_on_tcp(server: Server, tools: Tools, folder: Path) -> None:
    host, _, port = server.address.partition(":")
    environment = os.environ | {"HOME": str(folder), "JUPYTER_TOKEN": "bench"}
    command = [
        tools.script("jupyter"),
        "server",
        "--allow-root",
        "--no-browser",
        f"--ip={host}",
        f"--port={port}",
        f"--ServerApp.root_dir={folder}",
    ]
    start(server, command, folder=folder, env=environment)


def click_perijove(server: Server, user: str, patience: float = 60) -> Jupyter:
    jupyter = Jupyter(
        server.address,
        f"/notebook/{user}/",
        {"Cookie": f"user={user}", "Origin": server.url},
        server.folder / "notebooks" / user,
    )
    status, body, _ = jupyter.request("GET", "/launch")
    if status != 303:
        raise RuntimeError(f"launch failed: {status} {body[:500]!r}")
    jupyter.wait_ready(patience)
    return jupyter


def until_prepared(server: Server) -> None:
    """Until notebooks are started as they are in the long run: warm."""
    end = time.monotonic() + 60
    while time.monotonic() < end:
        status = json.loads(perijove_command(server, "status", "--json") or "{}")
        if (status.get("starts") or {}).get("state") != "starting":
            return
        time.sleep(0.1)


def perijove_command(server: Server, *words: str) -> str:
    program = server.commands[0].split()[0]
    out = subprocess.run(
        [program, *words], cwd=server.folder, capture_output=True, text=True, timeout=60
    )
    return out.stdout


def all_roots(server: Server) -> list[int]:
    """The server's processes, and for perijove the guardians, which have left its tree."""
    if not server.commands[0].endswith("serve --config perijove.toml"):
        return server.roots
    notebooks = json.loads(perijove_command(server, "notebook", "list", "--json"))
    rows = notebooks["notebooks"] if isinstance(notebooks, dict) else notebooks
    return server.roots + [row["pid"] for row in rows if row.get("pid")]


def known_to_hub(server: Server, user: str) -> Jupyter:
    jupyter = Jupyter(
        server.address,
        f"/user/{user}/",
        {"Authorization": "token bench-token-bench-token"},
        server.folder / "homes" / user,
    )
    end = time.monotonic() + 30
    while jupyter.request("GET", "/hub/api/")[0] != 200 and time.monotonic() < end:
        time.sleep(0.1)
    jupyter.request("POST", f"/hub/api/users/{user}")
    return jupyter


def click_hub(jupyter: Jupyter, user: str, patience: float = 60) -> None:
    status, body, _ = jupyter.request("POST", f"/hub/api/users/{user}/server")
    if status not in (201, 202):
        raise RuntimeError(f"spawn failed: {status} {body[:500]!r}")
    jupyter.wait_ready(patience)


Come = Callable[[Server, str], tuple[Jupyter, float]]


def come_to_perijove(server: Server, user: str) -> tuple[Jupyter, float]:
    until_prepared(server)
    begin = time.perf_counter()
    jupyter = click_perijove(server, user)
    return jupyter, time.perf_counter() - begin


def come_to_hub(server: Server, user: str) -> tuple[Jupyter, float]:
    jupyter = known_to_hub(server, user)
    begin = time.perf_counter()
    click_hub(jupyter, user)
    return jupyter, time.perf_counter() - begin


def come_to_tcp(server: Server, user: str) -> tuple[Jupyter, float]:
    jupyter = Jupyter(server.address, "/", {"Authorization": "token bench"}, server.folder)
    jupyter.wait_ready()
    return jupyter, 0.0


def end_perijove(server: Server) -> None:
    perijove_command(server, "notebook", "stop", "--all")


def end_hub(server: Server) -> None:
    for number in range(USERS):
        known_to_hub(server, f"user{number}").request(
            "DELETE", f"/hub/api/users/user{number}/server"
        )


WAYS: dict[str, tuple[Callable[..., None], Come, Callable[[Server], None]]] = {
    "perijove": (perijove_site, come_to_perijove, end_perijove),
    "JupyterHub + configurable-http-proxy": (hub, come_to_hub, end_hub),
    "jupyter_server on TCP": (jupyter_on_tcp, come_to_tcp, lambda server: None),
}


def run(bench: Bench) -> None:
    for _ in range(bench.rounds):
        for name, (make, come, end) in WAYS.items():
            with running(make, bench.tools, bench.folder / "notebook") as server:
                bench.note_commands(name, server)
                use_both_cpus(server)
                try:
                    for number in range(USERS):
                        figures(bench, name, server, come(server, f"user{number}"))
                finally:
                    end(server)


def use_both_cpus(server: Server) -> None:
    for process in descendants(server.roots):
        subprocess.run(["taskset", "-acp", "0,1", str(process)], capture_output=True)


def figures(bench: Bench, name: str, server: Server, came: tuple[Jupyter, float]) -> None:
    jupyter, ready = came
    add = bench.results.add_figure
    if WAYS[name][0] is not jupyter_on_tcp:
        add("ms from click to ready notebook", name, ready * 1e3)
    first, times = jupyter.execute_times()
    add("ms from POST of a kernel to its first answer", name, first * 1e3)
    zeromq = jupyter.answer_on_zeromq()
    add("ms from POST of a kernel to its first answer on ZeroMQ", name, zeromq * 1e3)
    add("ms from execute to answer (median of 100)", name, median(times) * 1e3)
    memory = proportional_kib(all_roots(server)) / 1024
    add(f"MiB of memory, up to {USERS} users with a notebook", name, memory)
