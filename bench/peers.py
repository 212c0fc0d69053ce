"""The servers that several groups measure, each with its access log off."""

from __future__ import annotations

from pathlib import Path

from measure import free_port
from servers import SITES, Server, Tools, start


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


def perijove_proxy(server: Server, tools: Tools, folder: Path, upstream: str) -> None:
    perijove(server, tools, folder, f'[site]\nupstream = "http://{upstream}"\n')


def granian(server: Server, tools: Tools, folder: Path, app: str, given: list[str]) -> None:
    """Granian with one worker and no front."""
    host, _, port = server.address.partition(":")
    command = [tools.script("granian"), *given, "--workers", "1", "--host", host, "--port", port]
    command += ["--no-access-log", "--working-dir", str(SITES), f"{app}:application"]
    start(server, command, folder=folder)


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
