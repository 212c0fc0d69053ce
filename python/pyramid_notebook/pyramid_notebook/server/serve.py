"""The Jupyter server of a daemon: perijove's, except that browsers may show the token themselves.

Run as a file, with the folder of the package `perijove`; what to do comes as JSON on standard
input.
"""

from __future__ import annotations

import importlib.util
import os
import socket
import sys
from types import ModuleType
from typing import Any


def main(package: str) -> None:
    here = os.path.dirname(os.path.abspath(__file__))
    sys.path[:] = [path for path in sys.path if os.path.abspath(path or ".") != here]
    launcher = load(os.path.join(package, "notebook", "__main__.py"), "_perijove_notebook_launcher")
    message: dict[str, Any] = launcher.read_message()
    if missing := launcher.missing_packages():
        launcher.fail(
            launcher.UNAVAILABLE,
            f"{' and '.join(missing)} not installed for {sys.executable}: run "
            f"`{sys.executable} -m pip install jupyterlab notebook`",
        )
    server = load(os.path.join(package, "notebook", "server.py"), "_perijove_notebook_server")
    run(server, message)


def run(server: ModuleType, message: dict[str, Any]) -> None:
    from jupyter_server.auth import User
    from jupyter_server.auth.identity import IdentityProvider

    name = message["user"]

    class Token(IdentityProvider):
        """Jupyter's own way with a token, in a header, an address or then a cookie; one user."""

        def generate_anonymous_user(self, handler: Any) -> User:
            return User(username=name, name=name, display_name=name)

    settings = server.forced_settings(message)
    for part in ("ServerApp", "GatewayServer"):
        # Jupyter's own checks of Host, Origin and XSRF stand: no gateway has made them.
        settings[part].update(
            identity_provider_class=Token,
            allow_remote_access=False,
            disable_check_xsrf=False,
            websocket_url=message["websocket_url"],
        )
    settings["IdentityProvider"] = {"token": message["token"]}
    listener = socket.socket(fileno=message["socket"])
    listener.setblocking(False)
    # Kernels are no business of this socket.
    listener.set_inheritable(False)
    server.GatewayServer.listener = listener
    server.GatewayServer.forced = settings
    server.GatewayServer.launch_instance(argv=message["arguments"])


def load(path: str, name: str) -> ModuleType:
    """Loads a module from a file, wherever that lies."""
    spec = importlib.util.spec_from_file_location(name, path)
    if spec is None or spec.loader is None:
        raise ImportError(path)
    module = importlib.util.module_from_spec(spec)
    sys.modules[name] = module
    spec.loader.exec_module(module)
    return module


if __name__ == "__main__":
    main(sys.argv[1])
