"""What Jupyter's server does when it starts, and can as well do when somebody asks for it.

Nothing is left out: what is put off here happens before the first answer that needs it.
"""

from __future__ import annotations

import asyncio
import ssl
import sys
from typing import Any


def put_off() -> None:
    """To be called when extensions are imported and not yet loaded. What is not there, or is made
    in another way than it is known to be, is left as it is."""
    servers = sys.modules.get("jupyter_lsp.serverextension")
    if hasattr(servers, "initialize"):
        put_off_language_servers(servers)
    packages = sys.modules.get("jupyterlab.extensions.pypi")
    if isinstance(getattr(packages, "_httpx_client_args", None), dict):
        put_off_certificates(packages)


def put_off_language_servers(extension: Any) -> None:
    """They are looked for when a page first asks which there are. The search takes a good part of a
    second, much of it in `npm`, while the page's first kernel starts."""
    search = extension.initialize

    async def initialize(app: Any, *more: Any) -> None:
        manager = app.language_server_manager
        ready = manager.ready
        searching: list[asyncio.Future[None]] = []

        async def ready_in_the_end() -> Any:
            if not searching:
                searching.append(asyncio.ensure_future(search(app, *more)))
            return await ready()

        manager.ready = ready_in_the_end

    extension.initialize = initialize


class Certificates(ssl.SSLContext):
    """What httpx trusts, read when it first connects: that takes longer than all else that the
    manager of JupyterLab's extensions does at its start."""

    made: ssl.SSLContext | None = None
    protocols: list[str]

    def __new__(cls) -> Certificates:
        return super().__new__(cls, ssl.PROTOCOL_TLS_CLIENT)

    def set_alpn_protocols(self, alpn_protocols: Any) -> None:
        self.protocols = list(alpn_protocols)

    def wrap_bio(self, *given: Any, **named: Any) -> ssl.SSLObject:
        import httpx

        if self.made is None:
            self.made = httpx.create_ssl_context()
        self.made.set_alpn_protocols(self.protocols)
        return self.made.wrap_bio(*given, **named)


def put_off_certificates(packages: Any) -> None:
    import httpx

    if hasattr(httpx, "create_ssl_context"):
        packages._httpx_client_args.setdefault("verify", Certificates())
