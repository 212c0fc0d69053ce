"""What an execute request costs through perijove, beside straight to the notebook's own socket.

Both ways lead to the same kernel and take turns, one connection at a time, so that what else the
machine does meets them alike; what counts is the difference within a turn.
"""

from __future__ import annotations

import contextlib
import json
import random
import socket
import sqlite3
import time
import uuid
from collections.abc import Iterator
from itertools import chain
from statistics import median

from groups import notebook
from servers import Server, running

from bench import Bench

# Of each way, and of what is sent in one; the first few warm up.
TURNS = 20
EXECUTIONS, WARM = 30, 5
USER = "bench"


def run(bench: Bench) -> None:
    for _ in range(bench.rounds):
        folder = bench.own_folder("execute")
        with running(notebook.perijove_site, bench.tools, folder) as server:
            bench.note_commands("perijove", server)
            notebook.use_both_cpus(server)
            jupyter, _ = notebook.come_to_perijove(server, USER)
            try:
                compare(bench, server, jupyter)
            finally:
                notebook.end_perijove(server)


def compare(bench: Bench, server: Server, jupyter: notebook.Jupyter) -> None:
    kernel = jupyter.start_kernel()
    ways = {"through perijove": through, "straight to its socket": straight}
    times: dict[str, list[list[float]]] = {name: [] for name in ways}
    for _ in range(TURNS):
        order = list(ways.items())
        random.shuffle(order)
        for name, way in order:
            with way(server, jupyter, kernel) as channel:
                times[name].append([milliseconds(channel) for _ in range(EXECUTIONS)][WARM:])
    add = bench.results.add_figure
    for name, turns in times.items():
        add("ms from execute to answer: median", name, median(chain.from_iterable(turns)))
        add("ms from execute to answer: least", name, min(chain.from_iterable(turns)))
    more = [median(ours) - median(its) for ours, its in zip(*times.values(), strict=True)]
    add("ms that an execute request takes more", "through perijove", median(more))


def milliseconds(channel) -> float:
    sent = time.perf_counter()
    notebook.execute(channel, uuid.uuid4().hex)
    return (time.perf_counter() - sent) * 1e3


@contextlib.contextmanager
def through(server: Server, jupyter: notebook.Jupyter, kernel: str) -> Iterator:
    import websocket

    channel = websocket.create_connection(
        f"ws://{jupyter.address}{path(jupyter, kernel)}",
        header=[f"{name}: {value}" for name, value in jupyter.headers.items()],
        timeout=60,
    )
    with contextlib.closing(channel):
        yield channel


@contextlib.contextmanager
def straight(server: Server, jupyter: notebook.Jupyter, kernel: str) -> Iterator:
    import websocket

    (place,) = (server.folder / "run/notebook").glob("*/sock")
    with socket.socket(socket.AF_UNIX) as own:
        own.connect(str(place))
        own.settimeout(60)
        channel = websocket.create_connection(
            f"ws://localhost{path(jupyter, kernel)}",
            header=[f"Authorization: token {token(server)}"],
            socket=own,
        )
        with contextlib.closing(channel):
            yield channel


def path(jupyter: notebook.Jupyter, kernel: str) -> str:
    return f"{jupyter.base}api/kernels/{kernel}/channels?session_id={uuid.uuid4().hex}"


def token(server: Server) -> str:
    """What only the gateway knows, and who may read its state."""
    with contextlib.closing(sqlite3.connect(server.folder / "state/state.db")) as state:
        (text,) = state.execute("SELECT record FROM server").fetchone()
    found: str = json.loads(text)["token"]
    return found
