"""nginx and Apache in front of perijove, as the guide says, and as one should not."""

from __future__ import annotations

import contextlib
import os
import shutil
import signal
import socket
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path

from site_under_test import PATIENCE, TREE

GUIDE = TREE / "docs/guides/domain.md"

NGINX = """\
daemon off;
{user}
pid {folder}/nginx.pid;
error_log {folder}/front.log;
events {{}}
http {{
  access_log off;
  client_body_temp_path {folder}/body;
  proxy_temp_path {folder}/proxy;
  fastcgi_temp_path {folder}/fastcgi;
  uwsgi_temp_path {folder}/uwsgi;
  scgi_temp_path {folder}/scgi;
{content}
}}
"""

APACHE = """\
ServerRoot {folder}
ServerName localhost
Listen 127.0.0.1:{port}
PidFile {folder}/apache.pid
ErrorLog {folder}/front.log
Mutex file:{folder}
{modules}
{user}
{content}
"""

MODULES = ("mpm_event", "authz_core", "headers", "ssl", "proxy", "proxy_http")

#: A front that nobody has told of websockets.
UNTOLD = {
    "nginx": """\
  server {{
    listen 127.0.0.1:{port};
    location / {{ proxy_pass http://127.0.0.1:8000; proxy_set_header Host $http_host; }}
  }}
""",
    "apache": """\
ProxyPreserveHost On
ProxyPass "/" "http://127.0.0.1:8000/"
""",
}


def free_port() -> int:
    with socket.socket() as found:
        found.bind(("127.0.0.1", 0))
        port: int = found.getsockname()[1]
        return port


def certify(folder: Path) -> None:
    """A certificate for the site and for the domain of notebooks, signed by itself."""
    names = "subjectAltName=DNS:site.localhost,DNS:nb.localhost,DNS:*.nb.localhost"
    words = (
        "req -x509 -newkey ec -pkeyopt ec_paramgen_curve:prime256v1 -nodes -days 2 -subj /CN=site"
    )
    files = ["-keyout", str(folder / "key.pem"), "-out", str(folder / "certificate.pem")]
    subprocess.run(
        ["openssl", *words.split(), "-addext", names, *files], check=True, capture_output=True
    )


def of_guide(name: str, folder: Path, port: int, behind: str) -> str:
    """What the guide says for a front, with this site's names in the place of its own."""
    content = GUIDE.read_text().split(f"```{name}\n")[1].split("```")[0]
    replaced = {
        "listen 443 ssl": f"listen 127.0.0.1:{port} ssl",
        "*:443": f"127.0.0.1:{port}",
        "127.0.0.1:8000": behind,
        "/etc/ssl/example.pem": str(folder / "certificate.pem"),
        "/etc/ssl/example.key": str(folder / "key.pem"),
        "www.example.com": "site.localhost",
        "nb.example.org": "nb.localhost",
    }
    for old, new in replaced.items():
        content = content.replace(old, new)
    left = [word for word in ("443", ":8000", "example", "/etc/ssl") if word in content]
    assert not left, f"the guide's {name} has something else: {left}"
    return content


@contextlib.contextmanager
def front(name: str, folder: Path, port: int, content: str) -> Iterator[None]:
    """Runs a server in front until the end of the block."""
    folder.mkdir(exist_ok=True)
    is_root = os.geteuid() == 0
    file = folder / f"{name}.conf"
    if name == "nginx":
        user = "user root;" if is_root else ""
        file.write_text(NGINX.format(folder=folder, user=user, content=content))
        command = [shutil.which("nginx") or "/usr/sbin/nginx", "-c", str(file)]
    else:
        user = "User www-data\nGroup www-data" if is_root else ""
        place = Path("/usr/lib/apache2/modules")
        files = [(module, place / f"mod_{module}.so") for module in MODULES]
        loads = "\n".join(f"LoadModule {name}_module {path}" for name, path in files)
        text = APACHE.format(folder=folder, port=port, modules=loads, user=user, content=content)
        file.write_text(text)
        program = shutil.which("apache2") or "/usr/sbin/apache2"
        command = [program, "-f", str(file), "-DFOREGROUND"]
    with (folder / "said").open("w") as said:
        process = subprocess.Popen(command, stdout=said, stderr=said)
    try:
        _wait_for(port, process, folder)
        yield
    finally:
        process.send_signal(signal.SIGTERM)
        process.wait(PATIENCE)


def _wait_for(port: int, process: subprocess.Popen[bytes], folder: Path) -> None:
    deadline = time.monotonic() + PATIENCE
    while process.poll() is None and time.monotonic() < deadline:
        with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", port), 1):
            return
        time.sleep(0.05)
    raise AssertionError((folder / "said").read_text())
