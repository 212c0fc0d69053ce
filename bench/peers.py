"""The servers that are measured: how each is started, on one CPU, with everyone's access log off."""

from __future__ import annotations

import contextlib
import os
import shutil
import signal
import socket
import subprocess
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

from measure import free_port, pinned

HERE = Path(__file__).resolve().parent
TREE = HERE.parent
SITES = HERE / "sites"


@dataclass
class Server:
    """A running server: its address and the processes whose CPU counts as its own."""

    address: str
    folder: Path
    processes: list[subprocess.Popen] = field(default_factory=list)
    commands: list[str] = field(default_factory=list)

    @property
    def url(self) -> str:
        return f"http://{self.address}"

    @property
    def roots(self) -> list[int]:
        return [process.pid for process in self.processes]


@dataclass
class Tools:
    """Where the programs are that are compared."""

    perijove: Path
    python: Path
    node_modules: Path | None = None

    def script(self, name: str) -> str:
        return str(self.python.parent / name)


def wait_for(address: str | Path, seconds: float = 20) -> None:
    """Until something accepts connections there."""
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        with contextlib.suppress(OSError):
            if isinstance(address, Path):
                with socket.socket(socket.AF_UNIX) as probe:
                    probe.connect(str(address))
            else:
                host, _, port = address.rpartition(":")
                socket.create_connection((host, int(port)), 1).close()
            return
        time.sleep(0.02)
    raise TimeoutError(f"nothing answers at {address}")


def start(server: Server, command: list[str], *, folder: Path, cpu: int = 0, **options) -> None:
    log = (folder / "log").open("ab")
    server.commands.append(" ".join(str(word) for word in command))
    server.processes.append(
        subprocess.Popen(
            pinned(cpu, command),
            cwd=folder,
            stdout=log,
            stderr=log,
            start_new_session=True,
            **options,
        )
    )


def stop(server: Server) -> None:
    for process in reversed(server.processes):
        with contextlib.suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGTERM)
    for process in server.processes:
        try:
            process.wait(10)
        except subprocess.TimeoutExpired:
            os.killpg(process.pid, signal.SIGKILL)
            process.wait()


@contextlib.contextmanager
def running(make, tools: Tools, folder: Path, **settings) -> Iterator[Server]:
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    server = Server(f"127.0.0.1:{free_port()}", folder)
    try:
        make(server, tools, folder, **settings)
        wait_for(server.address)
        yield server
    except Exception:
        with contextlib.suppress(OSError):
            print((folder / "log").read_text()[-2000:])
        raise
    finally:
        stop(server)


# ---- the site's own servers -------------------------------------------------------------------


def perijove(server: Server, tools: Tools, folder: Path, text: str) -> None:
    """perijove with this configuration beside its listener."""
    (folder / "perijove.toml").write_text(
        f'listen = ["{server.address}"]\nstate-folder = "{folder}/state"\n'
        f'runtime-folder = "{folder}/run"\n[log]\naccess = "off"\n{text}'
    )
    start(server, [str(tools.perijove), "serve", "--config", "perijove.toml"], folder=folder)


def perijove_app(server: Server, tools: Tools, folder: Path, app: str) -> None:
    text = f'[site]\nroot = "{SITES}"\napp = "{app}:application"\nworkers = 1\npython = "{tools.python}"\n'
    perijove(server, tools, folder, text)


def perijove_static(server: Server, tools: Tools, folder: Path, public: Path) -> None:
    perijove(server, tools, folder, f'[site]\nstatic = [{{ path = "/", folder = "{public}" }}]\n')


def perijove_proxy(server: Server, tools: Tools, folder: Path, upstream: str) -> None:
    perijove(server, tools, folder, f'[site]\nupstream = "http://{upstream}"\n')


def nginx(server: Server, folder: Path, body: str, *, extra: str = "", cpu: int = 0) -> None:
    """nginx with one worker and this server block."""
    text = f"""
daemon off; master_process on; worker_processes 1; pid {folder}/nginx.pid; user root;
error_log {folder}/error.log;
events {{ worker_connections 8192; }}
http {{
  access_log off; sendfile on; tcp_nopush on; keepalive_requests 100000000;
  client_body_temp_path {folder}/body; proxy_temp_path {folder}/proxy; uwsgi_temp_path {folder}/uwsgi;
  fastcgi_temp_path {folder}/fastcgi; scgi_temp_path {folder}/scgi;
  client_max_body_size 0;
  types {{ text/html html; text/plain txt; }}
  {extra}
  server {{ listen {server.address} backlog=4096; {body} }}
}}
"""
    (folder / "nginx.conf").write_text(text)
    start(server, ["nginx", "-c", f"{folder}/nginx.conf"], folder=folder, cpu=cpu)


def nginx_gunicorn(server: Server, tools: Tools, folder: Path, app: str) -> None:
    sock = folder / "app.sock"
    command = [
        tools.script("gunicorn"),
        "-w",
        "1",
        "-k",
        "sync",
        "-b",
        f"unix:{sock}",
        "--chdir",
        str(SITES),
        f"{app}:application",
    ]
    start(server, command, folder=folder)
    wait_for(sock)
    nginx(server, folder, f"location / {{ proxy_pass http://unix:{sock}; }}")


def nginx_uwsgi(server: Server, tools: Tools, folder: Path, app: str) -> None:
    sock = folder / "app.sock"
    command = [
        tools.script("uwsgi"),
        "--master",
        "--processes",
        "1",
        "--socket",
        str(sock),
        "--chdir",
        str(SITES),
        "--module",
        f"{app}:application",
        "--disable-logging",
        "--virtualenv",
        str(tools.python.parent.parent),
    ]
    start(server, command, folder=folder)
    wait_for(sock)
    include = "/etc/nginx/uwsgi_params"
    nginx(server, folder, f"location / {{ include {include}; uwsgi_pass unix:{sock}; }}")


def granian(server: Server, tools: Tools, folder: Path, app: str, threads: int = 1) -> None:
    host, _, port = server.address.partition(":")
    command = [
        tools.script("granian"),
        "--interface",
        "wsgi",
        "--workers",
        "1",
        "--blocking-threads",
        str(threads),
        "--host",
        host,
        "--port",
        port,
        "--no-access-log",
        "--working-dir",
        str(SITES),
        f"{app}:application",
    ]
    start(server, command, folder=folder)


def nginx_static(server: Server, tools: Tools, folder: Path, public: Path) -> None:
    nginx(server, folder, f"root {public};")


# ---- what stands in front of something else ------------------------------------------------------

WEBSOCKET = (
    "proxy_http_version 1.1; proxy_set_header Upgrade $http_upgrade; "
    'proxy_set_header Connection "upgrade"; proxy_read_timeout 1d;'
)


def nginx_proxy(server: Server, tools: Tools, folder: Path, upstream: str) -> None:
    nginx(
        server,
        folder,
        'location / { proxy_pass http://up; proxy_http_version 1.1; proxy_set_header Connection ""; }',
        extra=f"upstream up {{ server {upstream}; keepalive 64; keepalive_requests 100000000; }}",
    )


def nginx_websocket(server: Server, tools: Tools, folder: Path, upstream: str) -> None:
    nginx(server, folder, f"location / {{ proxy_pass http://{upstream}; {WEBSOCKET} }}")


def haproxy(server: Server, tools: Tools, folder: Path, upstream: str) -> None:
    (folder / "haproxy.cfg").write_text(f"""
global
  nbthread 1
  maxconn 8000
defaults
  mode http
  timeout connect 5s
  timeout client 1h
  timeout server 1h
  timeout tunnel 1d
frontend f
  bind {server.address}
  default_backend b
backend b
  http-reuse always
  server s {upstream}
""")
    start(server, ["haproxy", "-f", "haproxy.cfg", "-db"], folder=folder)


def configurable_http_proxy(server: Server, tools: Tools, folder: Path, upstream: str) -> None:
    host, _, port = server.address.partition(":")
    program = tools.node_modules / ".bin" / "configurable-http-proxy"
    command = [
        str(program),
        "--ip",
        host,
        "--port",
        port,
        "--api-ip",
        "127.0.0.1",
        "--api-port",
        str(free_port()),
        "--default-target",
        f"http://{upstream}",
        "--log-level",
        "error",
    ]
    start(server, command, folder=folder)


# ---- what stands behind -----------------------------------------------------------------------


def small_upstream(server: Server, tools: Tools, folder: Path) -> None:
    """1 KiB for everything, from nginx on the other CPU."""
    (folder / "index.html").write_text("x" * 1024)
    nginx(server, folder, f"root {folder}; location / {{ try_files /index.html =404; }}", cpu=1)


def websocket_echo(server: Server, tools: Tools, folder: Path, program: Path) -> None:
    start(server, [str(program), server.address], folder=folder, cpu=1)
