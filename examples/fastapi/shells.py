"""The endpoints for notebooks: open a shell on a note, shut it down, let its owner pass."""

import hmac
import os
from typing import Annotated

from fastapi import APIRouter, Depends, HTTPException, Request, Response
from fastapi.responses import RedirectResponse
from fastapi.security import HTTPBasic, HTTPBasicCredentials
from perijove import startup
from perijove.starlette import launch_notebook, make_startup, notebook_proxy, shutdown_notebook

#: `name:password` of each account, and the names of those who may open a shell: it can do what the
#: site itself can. Without these nobody signs in. A real site asks its database for the former.
ACCOUNTS = dict(entry.split(":", 1) for entry in os.environ.get("NOTES_USERS", "").split())
SHELLS = set(os.environ.get("NOTES_SHELLS", "").split())

#: Runs in each kernel, after the application is loaded.
READ_NOTE = """
import sqlite3

from main import FOLDER

notes = sqlite3.connect(FOLDER / "notes.db")
note = notes.execute("select title, text from notes where id = ?", ({number},)).fetchone()
"""

router = APIRouter(include_in_schema=False)


def user_with_shell(shown: Annotated[HTTPBasicCredentials, Depends(HTTPBasic())]) -> str:
    """The name of whoever has signed in and may have a shell."""
    password = ACCOUNTS.get(shown.username)
    if password is None or not hmac.compare_digest(password.encode(), shown.password.encode()):
        raise HTTPException(401, "wrong name or password", {"WWW-Authenticate": "Basic"})
    if shown.username not in SHELLS:
        raise HTTPException(403, "you are not on the list of those who may open a shell")
    return shown.username


User = Annotated[str, Depends(user_with_shell)]


@router.api_route("/notes/{number}/shell", methods=["GET", "POST"])
async def shell(request: Request, number: int, user: User) -> Response:
    """A shell with the application, and one note in the variable `note`."""
    context: dict[str, object] = {}
    make_startup(context, "main:app")
    startup.add_script(context, READ_NOTE.format(number=number))
    startup.add_greeting(context, f"* **note** – the note number {number}")
    return await launch_notebook(request, user, context)


@router.api_route("/notebook/shutdown", methods=["GET", "POST"])
async def shutdown(request: Request, user: User) -> Response:
    await shutdown_notebook(request, user)
    return RedirectResponse("/docs", 303)


@router.get("/notebook/{remainder:path}")
def notebook(request: Request, user: User) -> Response:
    """Tell perijove whose notebook a visitor may use."""
    return notebook_proxy(request, user)
