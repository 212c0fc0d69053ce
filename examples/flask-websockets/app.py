"""A board where people write: a Flask site, which is WSGI and so can hold no websocket.

The two daemons beside it can; perijove.toml says which path leads to which.
"""

from __future__ import annotations

from flask import Flask, render_template, request

application = Flask(__name__)
notes: list[str] = []


@application.get("/")
def board() -> str:
    return render_template("board.html", notes=notes)


@application.post("/notes")
def write() -> tuple[str, int]:
    notes.append(request.form["note"][:200])
    return "written\n", 201
