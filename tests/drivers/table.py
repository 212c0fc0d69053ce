"""The table of `docs/reference/drivers.md`: what each driver is observed to do."""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path

DOCUMENT = Path(__file__).resolve().parents[2] / "docs/reference/drivers.md"
_BEGIN = "<!-- made by tests/drivers: make drivers-table -->"
_END = "<!-- end of what is made -->"

#: `make drivers-table` writes what is observed; everybody else compares.
WRITES = "WRITE_DRIVERS_TABLE" in os.environ


@dataclass(frozen=True)
class Column:
    """A driver as the suite runs it."""

    name: str
    server: str
    interface: str = "wsgi"
    arguments: tuple[str, ...] = ()


COLUMNS = (
    Column("native", "native"),
    Column("wsgiref", "wsgiref"),
    Column("gevent", "gevent"),
    Column("gunicorn sync", "gunicorn"),
    Column("gunicorn gthread", "gunicorn", arguments=("--threads", "2")),
    Column("gunicorn gevent", "gunicorn", arguments=("--worker-class", "gevent")),
    Column("uwsgi", "uwsgi"),
    Column("mod_wsgi", "mod_wsgi"),
    Column("native (asgi)", "native", "asgi"),
    Column("uvicorn (asgi)", "uvicorn", "asgi"),
)


def read() -> dict[tuple[str, str], str]:
    """What the document says, by behaviour and driver."""
    rows = [_cells(line) for line in _made().splitlines() if line.startswith("| ")]
    said: dict[tuple[str, str], str] = {}
    head: list[str] = []
    for row in rows:
        if row[0] == "":
            head = row
        elif set(row[0]) != {"-"}:
            said.update(
                {(row[0], name): cell for name, cell in zip(head[1:], row[1:], strict=True)}
            )
    return said


def write(observed: dict[tuple[str, str], str]) -> None:
    """Puts what was observed into the document; what was not keeps its place."""
    said = {**read(), **observed}
    names = list(dict.fromkeys(row for row, _ in said))
    columns = [column.name for column in COLUMNS]
    lines = [_line(["", *columns]), _line(["---"] * (1 + len(columns)))]
    lines += [
        _line([name, *(said.get((name, column), "") for column in columns)]) for name in names
    ]
    text = DOCUMENT.read_text()
    made = "\n".join([_BEGIN, "", *lines, "", _END])
    before, rest = text.split(_BEGIN)
    DOCUMENT.write_text(before + made + rest.split(_END)[1])


def _made() -> str:
    return DOCUMENT.read_text().split(_BEGIN)[1].split(_END)[0]


def _cells(line: str) -> list[str]:
    return [cell.strip() for cell in line.strip().strip("|").split("|")]


def _line(cells: list[str]) -> str:
    return "| " + " | ".join(cells) + " |"
