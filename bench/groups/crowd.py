"""Many users who come in one go, each with a kernel: how long the last one waits, and what it takes.

The servers have both CPUs, which they share with the clients.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from functools import partial

from groups import notebook
from measure import proportional_kib
from servers import Server, running

from bench import Bench, log

FEW, MANY = 20, 100
PATIENCE = 300
# What a user of JupyterHub takes with a kernel, in MiB: where there is not room for all, none are
# started.
HUNGER = 160


def run(bench: Bench) -> None:
    ways = {
        "perijove": (notebook.perijove_site, perijove_user),
        "perijove, cold": (cold, perijove_user),
        "JupyterHub + configurable-http-proxy": (notebook.hub, hub_user),
    }
    for users in (FEW, MANY):
        for name, (make, come) in ways.items():
            if users == MANY and name != "perijove" and available_mib() < MANY * HUNGER:
                log(f"{name}: no room for {users} users")
                continue
            with running(make, bench.tools, bench.own_folder(f"{name} {users}")) as server:
                bench.note_commands(name, server)
                crowd(bench, name, server, partial(come, server), users)


def cold(server: Server, tools, folder) -> None:
    notebook.perijove_site(server, tools, folder, "warm = false\n")


def perijove_user(server: Server, user: str) -> Callable[[], notebook.Jupyter]:
    return partial(notebook.click_perijove, server, user, PATIENCE)


def hub_user(server: Server, user: str) -> Callable[[], notebook.Jupyter]:
    jupyter = notebook.known_to_hub(server, user)

    def come() -> notebook.Jupyter:
        notebook.click_hub(jupyter, user, PATIENCE)
        return jupyter

    return come


def crowd(bench: Bench, name: str, server: Server, user: Callable, users: int) -> None:
    if "perijove" in name:
        notebook.until_prepared(server)
    arrivals = [user(f"user{number}") for number in range(users)]
    notebook.use_both_cpus(server)
    empty = proportional_kib(notebook.all_roots(server))
    begin = time.perf_counter()

    def visit(come: Callable[[], notebook.Jupyter]) -> tuple[float, float] | None:
        try:
            jupyter = come()
            ready = time.perf_counter() - begin
            jupyter.execute_times(0)
        except Exception as error:
            log(f"{name}: {error!r}")
            return None
        return ready, time.perf_counter() - begin

    with ThreadPoolExecutor(users) as pool:
        visits = [visit for visit in pool.map(visit, arrivals) if visit is not None]
    full = proportional_kib(notebook.all_roots(server))
    add = bench.results.add_figure
    add(f"of {users} users at once: how many failed", name, users - len(visits))
    computed = sorted(done for _, done in visits)
    for share in range(10, 110, 10):
        done = computed[max(0, len(computed) * share // 100 - 1)]
        add(f"of {users} users at once: s until {share} % had a kernel that computes", name, done)
    add(f"of {users} users at once: MiB in all", name, full / 1024)
    add(f"of {users} users at once: MiB for each of them", name, (full - empty) / 1024 / users)
    if "perijove" in name:
        notebook.perijove_command(server, "notebook", "stop", "--all")


def available_mib() -> int:
    with open("/proc/meminfo") as lines:
        return next(int(line.split()[1]) for line in lines if line.startswith("MemAvail")) // 1024
