"""Asks the running perijove, over its control socket, to launch, stop and list notebooks.

Standard library only, and no state: a `Control` may be made for each request and used from any
thread. Who may have a notebook is not decided here; whoever holds the socket's secret may ask for
everybody's.
"""

from __future__ import annotations

import io
import json
import os
import socket
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, fields
from http.client import HTTPException, HTTPResponse
from pathlib import Path
from typing import Any, TypeVar
from urllib.parse import quote

__all__ = [
    "Control",
    "ControlError",
    "Launch",
    "NotServed",
    "Notebook",
    "Refused",
    "Unreachable",
    "canonical",
]

#: The environment variable by which perijove tells its workers where the socket is.
SOCKET_VARIABLE = "PERIJOVE_CONTROL"

#: An answer longer than this (bytes) is not one of perijove's.
LONGEST_ANSWER = 16 * 1024 * 1024

#: A stop may take as long as a notebook needs to end its kernels, in seconds.
STOP_TIMEOUT = 40.0


class ControlError(Exception):
    """Perijove could not be asked, or said no; `hint` says what to do about it."""

    def __init__(self, message: str, hint: str) -> None:
        super().__init__(message)
        self.hint = hint

    def __str__(self) -> str:
        return f"{self.args[0]}; hint: {self.hint}"


class NotServed(ControlError):
    """This process was not started by perijove, so there is nobody to ask."""


class Unreachable(ControlError):
    """Perijove is away, or did not answer in time: trying again may help."""


class Refused(ControlError):
    """Perijove answered with an error; `status` is its HTTP status."""

    def __init__(self, status: int, message: str, hint: str) -> None:
        super().__init__(message, hint)
        self.status = status


@dataclass(frozen=True)
class Launch:
    """Where a launched notebook is, and whether it still starts."""

    #: The address to send the user to: a path on the site, or a whole URL on another origin.
    url: str
    #: `starting`, `ready`, or `asking` when a busy notebook would have to be replaced.
    state: str
    #: Whether this launch started the notebook, rather than joining one.
    created: bool


@dataclass(frozen=True)
class Notebook:
    """One notebook as perijove sees it."""

    user: str
    name: str | None
    state: str
    url: str | None = None
    #: Seconds since 1970, or an ISO 8601 date: as perijove tells it.
    started: Any = None
    pid: int | None = None
    folder: str | None = None
    kill_at: Any = None
    context_hash: Any = None
    #: What keeps each of its limits, such as `{"memory": "cgroup v2"}`.
    limits: Any = None
    #: `{"times", "at", "limit"}` when processes of it were ended because its memory ran out.
    out_of_memory: Any = None
    #: The last lines it wrote to its log, where it failed.
    last_lines: Any = None


class Control:
    """A client of one control socket; by default the one perijove named to this process."""

    def __init__(
        self, path: str | os.PathLike[str] | None = None, *, timeout: float = 10.0
    ) -> None:
        """Talk to the socket at `path`; each call may take `timeout` seconds as a whole.

        Raises `NotServed` when no path is given and this process does not run under perijove.
        """
        found = os.fspath(path) if path is not None else os.environ.get(SOCKET_VARIABLE, "")
        if not found:
            raise NotServed(
                f"this process does not run under perijove (`{SOCKET_VARIABLE}` is not set)",
                "start the site with `perijove serve` rather than with another server",
            )
        self.path = found
        self.timeout = timeout

    def launch(
        self,
        user: str,
        context: Mapping[str, Any] | None = None,
        name: str | None = None,
        *,
        when_busy: str = "replace",
        from_elsewhere: bool = False,
        visitor: Mapping[str, Any] | None = None,
        settings: Mapping[str, Any] | None = None,
    ) -> Launch:
        """Start the notebook of `user`, or join the one that runs with the same context.

        `context` is what it starts with: `startup`, `greeting`, and whatever else tells one launch
        from another. When another context runs, it is replaced, or with `when_busy="ask"` the user
        is asked first if a kernel computes; `from_elsewhere` says that the user followed a link on
        another site's page, and is asked before anything is replaced. `visitor` (`origin`, by which
        the site was reached, `fields` of the request such as `Cookie`, and its `address`) lets
        perijove ask the site again where notebooks have a domain of their own. `settings`
        (`folder`, `kill-timeout` in seconds, `domain`) rank below perijove's own configuration.
        """
        body = dict(context or {})
        for reserved in ("beside", "from-elsewhere", "settings", "visitor", "when-busy"):
            if reserved in body:
                raise ValueError(f"a notebook's context cannot have the key `{reserved}`")
        body["when-busy"] = when_busy
        if from_elsewhere:
            body["from-elsewhere"] = True
        if visitor:
            body["visitor"] = dict(visitor)
        if settings:
            body["settings"] = dict(settings)
        answer = self._ask("POST", _address(user, name), _encode(body), self.timeout)
        return _read(Launch, answer)

    def stop(self, user: str, name: str | None = None) -> bool:
        """End the notebook of `user` with its kernels; false when there was none."""
        try:
            self._ask("DELETE", _address(user, name), None, max(self.timeout, STOP_TIMEOUT))
        except Refused as refusal:
            if refusal.status == 404:
                return False
            raise
        return True

    def status(self, user: str, name: str | None = None) -> Notebook | None:
        """What is known of the notebook of `user`; None when there is none."""
        try:
            return _read(Notebook, self._ask("GET", _address(user, name), None, self.timeout))
        except Refused as refusal:
            if refusal.status == 404:
                return None
            raise

    def list(self) -> Sequence[Notebook]:
        """All notebooks that perijove knows of."""
        answer = self._ask("GET", "/notebooks", None, self.timeout)
        entries = answer.get("notebooks") if isinstance(answer, dict) else answer
        if not isinstance(entries, list):
            raise _strange(json.dumps(answer)[:200])
        return [_read(Notebook, entry) for entry in entries]

    def _ask(self, method: str, address: str, body: bytes | None, seconds: float) -> Any:
        head = [
            f"{method} {address} HTTP/1.1",
            "Host: perijove",
            f"Authorization: Bearer {self._secret()}",
            "Accept: application/json",
            "Connection: close",
        ]
        if body is not None:
            head += ["Content-Type: application/json", f"Content-Length: {len(body)}"]
        request = "\r\n".join([*head, "", ""]).encode("ascii") + (body or b"")
        try:
            answer = _exchange(self.path, request, time.monotonic() + seconds)
        except TimeoutError as error:
            raise Unreachable(
                f"perijove did not answer on `{self.path}` within {seconds:g} s",
                "try again; `perijove status` tells whether it is well",
            ) from error
        except OSError as error:
            raise Unreachable(
                f"perijove cannot be reached on `{self.path}` ({error.strerror or error})",
                "is `perijove serve` running? try again once it is",
            ) from error
        return _decode(answer, method)

    def _secret(self) -> str:
        """Read anew for each call, since perijove makes another one whenever it starts."""
        path = f"{self.path}.secret"
        try:
            secret = Path(path).read_text("ascii").strip()
        except FileNotFoundError as error:
            raise Unreachable(
                f"there is no secret of the control socket at `{path}`",
                "is `perijove serve` running? it writes this file when it starts",
            ) from error
        except (OSError, ValueError) as error:
            reason = getattr(error, "strerror", None) or "it is not text"
            raise NotServed(
                f"cannot read the control socket's secret at `{path}` ({reason})",
                "only the account that perijove runs under may read it",
            ) from error
        if not secret.isalnum():
            raise NotServed(
                f"the file `{path}` holds no secret",
                "restart perijove: it writes this file when it starts",
            )
        return secret


def canonical(user: str) -> str:
    """The one spelling of a user's name in addresses and in `Perijove-User`.

    Everything but `A–Z a–z 0–9 - _ ~` is percent-encoded as UTF-8 with upper-case digits, the dot
    too, so that no name reads as a step in a path. Raises `ValueError` for what cannot be a name.
    """
    if not isinstance(user, str):
        raise ValueError(f"a user's name is text, not `{type(user).__name__}`")
    if not user:
        raise ValueError("a user's name cannot be empty")
    return quote(user, safe="", errors="strict").replace(".", "%2E")


def _address(user: str, name: str | None) -> str:
    address = f"/notebooks/{canonical(user)}"
    return f"{address}/{canonical(name)}" if name else address


def _encode(body: dict[str, Any]) -> bytes:
    try:
        return json.dumps(body, allow_nan=False).encode("utf-8")
    except (TypeError, ValueError) as error:
        raise ValueError(
            f"a notebook's context must be plain data that JSON can carry ({error}); "
            "hint: pass names and numbers, and let the startup script look up the rest"
        ) from error


def _exchange(path: str, request: bytes, deadline: float) -> bytes:
    """One request and its whole answer; the deadline covers both, however slowly bytes drip."""
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as stream:
        stream.settimeout(_left(deadline))
        stream.connect(path)
        stream.settimeout(_left(deadline))
        stream.sendall(request)
        answer = bytearray()
        while True:
            stream.settimeout(_left(deadline))
            piece = stream.recv(65536)
            if not piece:
                return bytes(answer)
            answer += piece
            if len(answer) > LONGEST_ANSWER:
                raise OSError(f"its answer is longer than {LONGEST_ANSWER} bytes")


def _left(deadline: float) -> float:
    left = deadline - time.monotonic()
    if left <= 0:
        raise TimeoutError
    return left


class _Received:
    """Lets http.client read an answer that is already here."""

    def __init__(self, data: bytes) -> None:
        self.data = data

    def makefile(self, *_: Any) -> io.BytesIO:
        return io.BytesIO(self.data)


def _decode(answer: bytes, method: str) -> Any:
    response = HTTPResponse(_Received(answer), method=method)  # type: ignore[arg-type]
    try:
        response.begin()
        text = response.read()
    except (HTTPException, ValueError, OSError) as error:
        raise _strange(repr(answer[:200])) from error
    try:
        data = json.loads(text) if text else {}
    except ValueError:
        data = None
    if 200 <= response.status < 300 and data is not None:
        return data
    if response.status < 300:
        raise _strange(repr(text[:200]))
    told = data if isinstance(data, dict) else {}
    raise Refused(
        response.status,
        str(told.get("error") or f"perijove answered {response.status} {response.reason}"),
        str(told.get("hint") or "see perijove's log for the reason"),
    )


_Shape = TypeVar("_Shape", Launch, Notebook)


def _read(shape: type[_Shape], answer: Any) -> _Shape:
    """What a newer perijove adds is ignored; what an answer must have, it must have."""
    if not isinstance(answer, dict):
        raise _strange(repr(answer)[:200])
    known = {field.name for field in fields(shape)}
    try:
        return shape(**{key: value for key, value in answer.items() if key in known})
    except TypeError as error:
        raise _strange(repr(answer)[:200]) from error


def _strange(said: str) -> Unreachable:
    return Unreachable(
        f"what answers on the control socket does not speak as perijove does: {said}",
        "do the versions of perijove and of its Python package match?",
    )
