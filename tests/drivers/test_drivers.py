"""Every behaviour under every driver, compared with the table in the documents.

A behaviour says what it observed in a few words, `yes` when it is as its name says. The table is
the expectation: what a driver does otherwise stands there.
"""

from __future__ import annotations

import behaviours
import pytest
import table
from served import Served
from table import Column

OBSERVED: dict[tuple[str, str], str] = {}
SAID = table.read()


@pytest.fixture(scope="module", autouse=True)
def document() -> object:
    yield
    if table.WRITES:
        table.write(OBSERVED)


@pytest.mark.parametrize("name", behaviours.WHILE_IT_RUNS)
def test_while_it_runs(name: str, column: Column, served: Served) -> None:
    compare(name, column, behaviours.WHILE_IT_RUNS[name](served))


@pytest.mark.parametrize("name", behaviours.OF_ITS_LIFE)
def test_of_its_life(name: str, column: Column, another: Served) -> None:
    compare(name, column, behaviours.OF_ITS_LIFE[name](another))


def test_the_table_has_nothing_else() -> None:
    known = {*behaviours.WHILE_IT_RUNS, *behaviours.OF_ITS_LIFE}
    assert {name for name, _ in SAID} == known
    assert {name for _, name in SAID} == {column.name for column in table.COLUMNS}


def compare(name: str, column: Column, observed: str) -> None:
    OBSERVED[name, column.name] = observed
    if not table.WRITES:
        assert observed == SAID[name, column.name]
