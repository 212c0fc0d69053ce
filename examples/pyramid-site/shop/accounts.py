"""Who may sign in, and who may open a shell: the list in the configuration file decides."""

from __future__ import annotations

import hmac
from pathlib import Path
from typing import Any

import plaster
from pyramid.security import Allowed, Denied
from pyramid.settings import aslist

#: A demo's accounts. A site of yours has its own, and keeps no password as it is.
ACCOUNTS = {"user": "password", "user2": "password", "guest": "password"}

#: The list as last read, with what the file looked like then.
_read: dict[str, tuple[tuple[int, int, int], list[str]]] = {}


class Policy:
    """Signed in is who the session names; a shell is for those on the list."""

    def identity(self, request: Any) -> str | None:
        user = request.session.get("user")
        return user if user in ACCOUNTS else None

    authenticated_userid = identity

    def permits(self, request: Any, _context: Any, permission: str) -> Allowed | Denied:
        user = request.identity
        if user is None:
            return Denied("nobody is signed in")
        if permission == "shell" and user not in shell_users(request.registry.settings):
            return Denied(f"{user} is not on the list of those who may open a shell")
        return Allowed(f"{user} may")

    def remember(self, request: Any, userid: str, **_: Any) -> list[tuple[str, str]]:
        # A new session: whatever cookie there was before the login is worth nothing after it.
        request.session.invalidate()
        request.session["user"] = userid
        return []

    def forget(self, request: Any, **_: Any) -> list[tuple[str, str]]:
        request.session.invalidate()
        return []


def is_password(user: str, password: str) -> bool:
    """Whether the account exists and this opens it; it takes as long either way."""
    right = ACCOUNTS.get(user, "")
    return hmac.compare_digest(right.encode(), password.encode()) and bool(right)


def may_open_shell(request: Any) -> bool:
    """Whether the visitor is on the list, for pages that show the way."""
    return bool(request.has_permission("shell"))


def shell_users(settings: Any) -> list[str]:
    """The names in `shop.shell_users`, read again whenever the file changes.

    So a name that is struck off loses its notebook at perijove's next question, seconds later.
    """
    path = settings["shop.config_file"]
    if not path:
        return aslist(settings["shop.shell_users"])
    seen = Path(path).stat()
    version = (seen.st_mtime_ns, seen.st_size, seen.st_ino)
    if path not in _read or _read[path][0] != version:
        fresh = plaster.get_settings(path, "app:main")
        _read[path] = (version, aslist(fresh.get("shop.shell_users", "")))
    return _read[path][1]


def is_browser(request: Any) -> bool:
    """Whether a form must carry its token: only a browser can be talked into sending one."""
    return any(name in request.headers for name in ("Origin", "Referer", "Sec-Fetch-Site"))
