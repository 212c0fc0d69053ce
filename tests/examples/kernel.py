"""A kernel of somebody's notebook, as JupyterLab talks to it: start it, run code."""

from __future__ import annotations

import json
import urllib.request
import uuid
from collections.abc import Mapping

from example import PATIENCE
from websockets.sync.client import connect


def start(site: str, notebook: str, headers: Mapping[str, str]) -> str:
    """The address of a new kernel, below the site's."""
    request = urllib.request.Request(
        f"{site}{notebook}api/kernels", b"{}", dict(headers), method="POST"
    )
    with urllib.request.urlopen(request, timeout=PATIENCE) as answer:
        return f"{notebook}api/kernels/{json.load(answer)['id']}"


def run(site: str, kernel: str, headers: Mapping[str, str], code: str) -> str:
    """What a cell shows: what it printed, its value, its error."""
    shown: list[str] = []
    message = {
        "channel": "shell",
        "header": {
            "msg_id": uuid.uuid4().hex,
            "msg_type": "execute_request",
            "session": uuid.uuid4().hex,
            "username": "",
            "version": "5.3",
        },
        "parent_header": {},
        "metadata": {},
        "content": {"code": code, "silent": False, "store_history": True},
    }
    with connect(
        f"{site.replace('http', 'ws', 1)}{kernel}/channels",
        additional_headers=headers,
        open_timeout=PATIENCE,
        max_size=None,
    ) as socket:
        socket.send(json.dumps(message))
        while True:
            told = json.loads(socket.recv(PATIENCE))
            content, kind = told["content"], told["msg_type"]
            if told["parent_header"].get("msg_id") != message["header"]["msg_id"]:  # type: ignore[index]
                continue
            if kind == "stream":
                shown.append(content["text"])
            elif kind == "execute_result":
                shown.append(content["data"]["text/plain"])
            elif kind == "error":
                shown.append(f"{content['ename']}: {content['evalue']}")
            elif kind == "status" and content["execution_state"] == "idle":
                return "".join(shown).strip()
