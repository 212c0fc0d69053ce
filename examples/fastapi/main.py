"""Notes: a JSON API with FastAPI. Models, a lifespan, a background task, streaming, an upload."""

import logging
import sqlite3
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Annotated

import shells
from fastapi import BackgroundTasks, Depends, FastAPI, HTTPException, Request, UploadFile
from fastapi.responses import FileResponse, StreamingResponse
from pydantic import BaseModel, Field

FOLDER = Path(__file__).parent / "var"
log = logging.getLogger("notes")


@asynccontextmanager
async def lifespan(_app: FastAPI) -> AsyncIterator[dict[str, Path]]:
    """Runs once in each worker: before it takes requests, and after its last one."""
    logging.basicConfig(level=logging.INFO)
    FOLDER.mkdir(exist_ok=True)
    database = FOLDER / "notes.db"
    with sqlite3.connect(database) as connection:
        connection.execute(
            "create table if not exists notes (id integer primary key, title text, text text)"
        )
    log.info("the worker is ready")
    # What is given here is `request.state` of every request.
    yield {"database": database}
    log.info("the worker ends")


app = FastAPI(title="Notes", lifespan=lifespan)
app.include_router(shells.router)


def connection(request: Request) -> Iterator[sqlite3.Connection]:
    found = sqlite3.connect(request.state.database, check_same_thread=False)
    try:
        with found:
            yield found
    finally:
        found.close()


Connection = Annotated[sqlite3.Connection, Depends(connection)]


class NewNote(BaseModel):
    title: str = Field(min_length=1, max_length=80)
    text: str = ""


class Note(NewNote):
    id: int


@app.post("/notes", status_code=201)
def create(new: NewNote, notes: Connection, later: BackgroundTasks) -> Note:
    cursor = notes.execute("insert into notes (title, text) values (?, ?)", (new.title, new.text))
    note = Note(id=cursor.lastrowid or 0, **new.model_dump())
    # Runs when the client has its answer.
    later.add_task(log.info, "note %s was written", note.id)
    return note


@app.get("/notes/{number}")
def read(number: int, notes: Connection) -> Note:
    row = notes.execute("select title, text from notes where id = ?", (number,)).fetchone()
    if row is None:
        raise HTTPException(404, "there is no such note")
    return Note(id=number, title=row[0], text=row[1])


@app.get("/notes.csv")
async def table(request: Request) -> StreamingResponse:
    """All notes, sent while they are read."""

    def lines() -> Iterator[str]:
        yield "id,title\n"
        with sqlite3.connect(request.state.database, check_same_thread=False) as notes:
            for number, title in notes.execute("select id, title from notes"):
                yield f'{number},"{title}"\n'

    return StreamingResponse(lines(), media_type="text/csv")


@app.put("/notes/{number}/file", status_code=204)
async def attach(number: int, file: UploadFile) -> None:
    with (FOLDER / f"{number}.bin").open("wb") as target:
        while piece := await file.read(1 << 20):
            target.write(piece)


@app.get("/notes/{number}/file")
async def attached(number: int) -> FileResponse:
    """The gateway sends the file by itself; the worker is free meanwhile."""
    path = FOLDER / f"{number}.bin"
    if not path.exists():
        raise HTTPException(404, "the note has no file")
    return FileResponse(path)
