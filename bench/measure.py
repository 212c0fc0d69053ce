"""What is measured: CPU and memory of whole process trees, and the load that runs meanwhile."""

from __future__ import annotations

import os
import re
import subprocess
from dataclasses import dataclass
from pathlib import Path

PROC = Path("/proc")


def descendants(roots: list[int]) -> list[int]:
    """The processes of `roots` with all below them, guardians that left the tree included."""
    children: dict[int, list[int]] = {}
    for entry in PROC.iterdir():
        if not entry.name.isdigit():
            continue
        try:
            stat = (entry / "stat").read_text()
        except OSError:
            continue
        parent = int(stat.rpartition(")")[2].split()[1])
        children.setdefault(parent, []).append(int(entry.name))
    # A guardian may be both a root and below one: whoever forked it may live still.
    found: list[int] = []
    waiting, seen = list(roots), set()
    while waiting:
        process = waiting.pop()
        if process in seen:
            continue
        seen.add(process)
        found.append(process)
        waiting.extend(children.get(process, []))
    return found


def cpu_seconds(roots: list[int]) -> float:
    """CPU time that the kernel's scheduler counted for all threads of these trees so far."""
    total = 0
    for process in descendants(roots):
        for schedstat in (PROC / str(process)).glob("task/*/schedstat"):
            try:
                total += int(schedstat.read_text().split()[0])
            except (OSError, IndexError, ValueError):
                continue
    return total / 1e9


def proportional_kib(roots: list[int]) -> int:
    """PSS of these trees: memory, with what is shared divided among those who share it."""
    total = 0
    for process in descendants(roots):
        try:
            text = (PROC / str(process) / "smaps_rollup").read_text()
        except OSError:
            continue
        if found := re.search(r"^Pss:\s+(\d+)", text, re.M):
            total += int(found[1])
    return total


@dataclass
class Sample:
    """One workload at one server in one round."""

    requests: int
    seconds: float
    cpu: float
    p99_ms: float | None = None
    errors: int = 0

    @property
    def per_cpu_second(self) -> float:
        return self.requests / self.cpu if self.cpu else 0.0


def pinned(cpu: int, command: list[str]) -> list[str]:
    return ["taskset", "-c", str(cpu), *command]


def http_load(
    roots: list[int],
    url: str,
    *,
    seconds: float,
    connections: int = 32,
    script: Path | None = None,
    load_cpu: int = 1,
) -> Sample:
    """Runs wrk against `url` and counts the CPU of `roots` meanwhile."""
    command = ["wrk", "-t1", f"-c{connections}", f"-d{max(1, round(seconds))}s", "--latency"]
    if script:
        command += ["-s", str(script)]
    before = cpu_seconds(roots)
    out = subprocess.run(
        pinned(load_cpu, [*command, url]), capture_output=True, text=True, timeout=seconds + 30
    )
    cpu = cpu_seconds(roots) - before
    found = re.search(r"(\d+) requests in ([\d.]+)s", out.stdout)
    if not found:
        raise RuntimeError(f"wrk failed at {url}: {out.stdout}{out.stderr}")
    errors = sum(int(n) for n in re.findall(r"Non-2xx or 3xx responses: (\d+)", out.stdout))
    if lost := re.search(r"Socket errors: (.*)", out.stdout):
        errors += sum(int(n) for n in re.findall(r"\d+", lost[1]))
    p99 = re.search(r"99%\s+([\d.]+)(us|ms|s)", out.stdout)
    scale = {"us": 1e-3, "ms": 1.0, "s": 1e3}
    p99_ms = float(p99[1]) * scale[p99[2]] if p99 else None
    return Sample(int(found[1]), float(found[2]), cpu, p99_ms, errors)


def websocket_load(
    roots: list[int], program: Path, address: str, *, size: int, connections: int, seconds: float
) -> Sample:
    """Runs the ping-pong load and counts the CPU of `roots` meanwhile."""
    before = cpu_seconds(roots)
    out = subprocess.run(
        pinned(1, [str(program), address, "/", str(connections), str(size), str(seconds)]),
        capture_output=True,
        text=True,
        timeout=seconds + 60,
    )
    cpu = cpu_seconds(roots) - before
    if out.returncode:
        raise RuntimeError(f"websocket load failed at {address}: {out.stderr}")
    count, took = out.stdout.split()
    return Sample(int(count), float(took), cpu)


def free_port() -> int:
    import socket

    with socket.socket() as found:
        found.bind(("127.0.0.1", 0))
        return found.getsockname()[1]


def is_root() -> bool:
    return os.geteuid() == 0
