"""Signing in, and a shell on an entry of the book for those who may have one."""

from __future__ import annotations

import hmac
import os
from typing import Any

from flask import Blueprint, abort, redirect, request, session, url_for
from perijove import startup
from perijove.flask import blueprint, launch_notebook, make_startup

#: `name:password` of each account, and the names of those who may open a shell: it can do what the
#: site itself can. Without these nobody signs in. A real site asks its database for the former.
ACCOUNTS = dict(entry.split(":", 1) for entry in os.environ.get("GUESTBOOK_USERS", "").split())
SHELLS = set(os.environ.get("GUESTBOOK_SHELLS", "").split())

#: Runs in each kernel, after the application is loaded.
READ_ENTRY = """
from guestbook import connect

entry = connect(app).execute("select * from entries where id = ?", ({number},)).fetchone()
"""

views = Blueprint("shells", __name__)


@views.get("/login")
def form() -> str:
    return (
        '<form method="post"><input name="name" placeholder="Your name">'
        '<input name="password" type="password" placeholder="Password"><button>Sign in</button>'
    )


@views.post("/login")
def login() -> Any:
    name, password = request.form["name"], request.form["password"].encode()
    if name not in ACCOUNTS or not hmac.compare_digest(ACCOUNTS[name].encode(), password):
        abort(403, "wrong name or password")
    session.clear()
    session["user"] = name
    return redirect(url_for("index"))


@views.route("/entries/<int:number>/shell", methods=["GET", "POST"])
def shell(number: int) -> Any:
    """A shell with the application, and one entry in the variable `entry`."""
    user = who()
    if not isinstance(user, str):
        return user
    context: dict[str, Any] = {}
    make_startup(context, "guestbook:create_app()")
    startup.add_script(context, READ_ENTRY.format(number=number))
    startup.add_greeting(context, f"* **entry** – entry {number} of the book")
    return launch_notebook(user, context)


def who() -> Any:
    """Who asks, if they may have a shell; else the way to the login, or a no."""
    if "user" not in session:
        return redirect(url_for("shells.login"))
    if session["user"] not in SHELLS:
        abort(403, "you are not on the list of those who may open a shell")
    return session["user"]


#: Perijove's question below `/notebook/`, and `/notebook/shutdown`.
notebooks = blueprint(who)
