"""A guest book with Flask: templates, a form with a picture, static files, shells.

perijove finds it by its `create_app()`.
"""

from __future__ import annotations

import os
import secrets
import sqlite3
from contextlib import closing, suppress
from pathlib import Path

from flask import Flask, abort, flash, redirect, render_template, request, url_for
from werkzeug.wrappers import Response

from . import shells

KINDS = {".png", ".jpg", ".jpeg", ".gif", ".webp"}
TABLE = "create table if not exists entries (id integer primary key, name, text, picture)"


def create_app(folder: str | None = None) -> Flask:
    app = Flask(__name__)
    var = Path(folder or os.environ.get("GUESTBOOK", "var")).absolute()
    pictures = var / "pictures"
    pictures.mkdir(parents=True, exist_ok=True)
    app.secret_key = key(var / "key")
    # A picture larger than this is refused before it is read.
    app.config["MAX_CONTENT_LENGTH"] = 8 << 20
    app.config["BOOK"] = var / "book.sqlite"
    # A link from elsewhere brings the session along, a form of another site does not.
    app.config["SESSION_COOKIE_SAMESITE"] = "Lax"
    app.register_blueprint(shells.views)
    app.register_blueprint(shells.notebooks)

    def book() -> closing[sqlite3.Connection]:
        return closing(connect(app))

    @app.get("/")
    def index() -> str:
        with book() as connection:
            entries = connection.execute("select * from entries order by id desc limit 50")
            return render_template("book.html", entries=entries.fetchall())

    @app.post("/sign")
    def sign() -> Response:
        name, text = request.form["name"].strip(), request.form["text"].strip()
        if not name or not text:
            flash("Please say who you are, and something.")
            return redirect(url_for("index"))
        picture = None
        if file := request.files.get("picture"):
            ending = Path(file.filename or "").suffix.lower()
            if ending not in KINDS:
                abort(415)
            # A name of our own: what a visitor calls a file is not to be trusted.
            picture = secrets.token_hex(8) + ending
            file.save(pictures / picture)
        with book() as connection:
            row = (name, text, picture)
            connection.execute("insert into entries (name, text, picture) values (?, ?, ?)", row)
        flash("Thank you.")
        return redirect(url_for("index"))

    @app.get("/health")
    def health() -> str:
        return "well"

    return app


def connect(app: Flask) -> sqlite3.Connection:
    connection = sqlite3.connect(app.config["BOOK"], isolation_level=None)
    connection.row_factory = sqlite3.Row
    connection.execute(TABLE)
    return connection


def key(file: Path) -> bytes:
    """The key of the sessions: all workers share it, and a reload keeps it."""
    # A shell may read what is here, and write nothing.
    with suppress(FileNotFoundError):
        return file.read_bytes()
    fresh = file.with_name(secrets.token_hex(8))
    fresh.touch(mode=0o600)
    fresh.write_bytes(secrets.token_bytes(32))
    # The first one wins, and is whole when it is there.
    with suppress(FileExistsError):
        file.hardlink_to(fresh)
    fresh.unlink()
    return file.read_bytes()
