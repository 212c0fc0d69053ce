"""Jupyter's server as perijove runs it: on a socket that is bound already, for one user.

Everything else stays stock: extensions as installed, and the user's own configuration, of which
only address, token and base URL do not count.
"""

from __future__ import annotations

import hmac
import importlib.util
import os
import re
import socket
import sys
from collections.abc import Callable
from dataclasses import replace
from types import ModuleType
from typing import Any

import jupyter_server
from jupyter_server.auth import User
from jupyter_server.auth.identity import IdentityProvider
from jupyter_server.serverapp import ServerApp
from tornado.httpserver import HTTPServer
from tornado.web import RequestHandler
from traitlets import default
from traitlets.config import Config

if tuple(map(int, jupyter_server.__version__.split(".")[:2])) < (2, 0):
    raise SystemExit(
        f"notebooks need jupyter_server 2 or newer, {jupyter_server.__version__} is installed: "
        "run `pip install --upgrade jupyter_server`"
    )

HERE = os.path.dirname(os.path.abspath(__file__))
# As much as the gateway lets through to a notebook.
LARGEST_BODY = 2 << 30


class GatewayIdentity(IdentityProvider):
    """The one user of this notebook, in every request that shows the gateway's token.

    The token is kept out of the traits: those are shown in pages and written to files. A request
    without it has no user, which is also true of whoever else may connect to the socket.
    """

    secret = b""
    person: User | None = None

    def _token_default(self) -> str:
        return ""

    def _shows_token(self, handler: RequestHandler) -> bool:
        scheme, _, shown = handler.request.headers.get("Authorization", "").partition(" ")
        return scheme.lower() == "token" and hmac.compare_digest(
            shown.strip().encode(), self.secret
        )

    async def _get_user(self, handler: RequestHandler) -> User | None:
        if not self._shows_token(handler):
            return None
        # Jupyter then leaves out its checks of Origin and XSRF. They would fail behind a gateway
        # that ends TLS and keeps the site's cookies, and the gateway has made them already, for
        # every request: there is no other way to this socket.
        handler._token_authenticated = True
        return GatewayIdentity.person

    def get_user(self, handler: RequestHandler) -> Any:
        return self._get_user(handler)

    def should_check_origin(self, handler: RequestHandler) -> bool:
        return False

    def update_user_model(self, current_user: User, user_data: dict[Any, str]) -> User:
        person = replace(current_user, **user_data)
        GatewayIdentity.person = person
        return person

    def persist_user_model(self, handler: RequestHandler) -> None:
        """A colour is remembered as long as the server runs; there is nowhere else to keep it."""

    @property
    def login_available(self) -> bool:
        return False

    @property
    def logout_available(self) -> bool:
        return False


class GatewayServer(ServerApp):
    """A Jupyter server that is given its socket instead of binding one."""

    name = "jupyter-server"
    listener: socket.socket
    forced: dict[str, Any]
    forker: Any = None
    jpserver_extensions: dict[str, bool]
    #: Where perijove runs the server, what it adds once that is set up.
    attend: Callable[[Any], None] = staticmethod(lambda app: None)
    no_browser_open_file = True

    @default("max_body_size")
    def _default_max_body_size(self) -> int:
        return LARGEST_BODY

    @default("terminado_settings")
    def _default_terminado_settings(self) -> dict[str, Any]:
        # Jupyter takes `sh` otherwise, since `SHELL` is not in the environment.
        return {"shell_command": ["/bin/bash"]} if os.path.exists("/bin/bash") else {}

    @default("default_url")
    def _default_page(self) -> str:
        return "/lab"

    @default("quit_button")
    def _default_quit_button(self) -> bool:
        # There is an entry of ours in its place, which leads back to the site.
        return False

    def parse_command_line(self, argv: Any = None) -> None:
        super().parse_command_line(argv)
        # The configuration at this point outranks the files that are read next.
        self.update_config(Config(self.forced))

    def init_configurables(self) -> None:
        if self.forker is not None:
            sys.modules["_perijove_notebook_kernels"].offer(self.forker, self)
        super().init_configurables()

    def find_server_extensions(self) -> None:
        # What a launch opens; whoever does without it says so.
        self.jpserver_extensions = {"jupyterlab": True, **self.jpserver_extensions}
        super().find_server_extensions()

    def init_httpserver(self) -> None:
        self._http_server = HTTPServer(
            self.web_app,
            xheaders=True,
            max_body_size=self.max_body_size,
            max_buffer_size=self.max_buffer_size,
        )
        # A socket is added from within the loop.
        self.io_loop.add_callback(self._http_server.add_socket, self.listener)

    def load_server_extensions(self) -> None:
        later.put_off()
        super().load_server_extensions()

    def initialize(self, *args: Any, **kwargs: Any) -> None:
        super().initialize(*args, **kwargs)
        self.attend(self)

    def running_server_info(self, kernel_count: bool = True) -> str:
        return f"Jupyter Server {self.version} serves {self.base_url} on perijove's socket"

    def write_server_info_file(self) -> None:
        """Left out: the file is for finding servers that listen on an address of their own."""


def run(listener: socket.socket, message: dict[str, Any], forker: Any = None) -> None:
    user = message["user"]
    GatewayIdentity.secret = message["token"].encode()
    GatewayIdentity.person = User(
        username=user, name=user, display_name=user, initials=initials(user)
    )
    GatewayServer.listener = listener
    GatewayServer.forker = forker
    GatewayServer.forced = forced_settings(message)
    GatewayServer.attend = staticmethod(lambda app: attend(app, message))
    GatewayServer.launch_instance(argv=list(message.get("arguments") or []))


def attend(app: ServerApp, message: dict[str, Any]) -> None:
    """Adds what perijove needs to a server that is set up."""
    activity.watch(app, float(message.get("kernel_idle_timeout") or 0))
    resume.watch()
    classic.add(app)
    templates.put_first(app, list(message.get("extra_template_paths") or []))


def load(file: str) -> ModuleType:
    """Loads a module that lies beside this one, wherever that is."""
    name = f"_perijove_notebook_{file.removesuffix('.py')}"
    spec = importlib.util.spec_from_file_location(name, os.path.join(HERE, file))
    if spec is None or spec.loader is None:
        raise ImportError(file)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def forced_settings(message: dict[str, Any]) -> dict[str, Any]:
    server = {
        "base_url": message["base_url"],
        "root_dir": message["root"],
        "identity_provider_class": GatewayIdentity,
        # The gateway has checked the Host, the Origin and the token against forgery.
        "allow_remote_access": True,
        "disable_check_xsrf": True,
        "allow_root": hasattr(os, "geteuid") and os.geteuid() == 0,
        "open_browser": False,
        "port_retries": 0,
        "sock": "",
        "certfile": "",
        "keyfile": "",
    }
    # A token lets Jupyter name any Origin in its answers; here only those that the gateway lets in.
    origins = message.get("allow_origin") or []
    server["allow_origin"] = ""
    # With neither of both Jupyter names whichever Origin asks.
    server["allow_origin_pat"] = "^(?!)"
    server["allow_credentials"] = bool(origins)
    if origins:
        server["allow_origin_pat"] = f"^(?:{'|'.join(map(re.escape, origins))})$"
    paths = message.get("extra_template_paths") or []
    if paths:
        server["extra_template_paths"] = list(paths)
    return {
        "ServerApp": server,
        "GatewayServer": dict(server),
        "IdentityProvider": {"token": ""},
        # What warns in the page before the end, for JupyterLab and Notebook.
        "LabServerApp": {"extra_labextensions_path": [os.path.join(HERE, "labextension")]},
    }


def initials(name: str) -> str:
    words = [word for word in name.replace("@", " ").replace(".", " ").split() if word]
    return "".join(word[0] for word in words[:2]).upper() or name[:1].upper()


# Read before a server is forked, so that no fork has to.
activity = load("activity.py")
classic = load("classic.py")
later = load("later.py")
resume = load("resume.py")
templates = load("templates.py")
whole_files = load("whole_files.py")
whole_files.install()
