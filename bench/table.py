"""Results as a Markdown table: medians over the rounds, and ratios to perijove's peers."""

from __future__ import annotations

import json
from pathlib import Path
from statistics import median

from measure import Sample


class Results:
    """Samples by workload and server, in the order they were first seen."""

    def __init__(self) -> None:
        self.samples: dict[str, dict[str, list[Sample]]] = {}
        self.figures: dict[str, dict[str, list[float]]] = {}
        self.commands: dict[str, dict[str, list[str]]] = {}

    def add(self, workload: str, server: str, sample: Sample) -> None:
        self.samples.setdefault(workload, {}).setdefault(server, []).append(sample)

    def add_figure(self, name: str, server: str, value: float) -> None:
        """A figure that is no load: milliseconds or KiB, as its name says."""
        self.figures.setdefault(name, {}).setdefault(server, []).append(value)

    def add_commands(self, group: str, server: str, commands: list[str]) -> None:
        """How a server was started, the first time it was: its site and port differ later."""
        self.commands.setdefault(group, {}).setdefault(server, commands)

    def per_cpu(self, workload: str, server: str) -> float:
        return median(s.per_cpu_second for s in self.samples[workload][server])

    def ratios(self, workload: str) -> dict[str, float]:
        """How many times the peer's requests per CPU-second perijove answers: the median over the
        turns, in each of which both were measured."""
        servers = self.samples[workload]
        own = servers.get("perijove", [])
        return {
            peer: median(
                mine.per_cpu_second / its.per_cpu_second
                for mine, its in zip(own, samples, strict=True)
                if its.per_cpu_second
            )
            for peer, samples in servers.items()
            if own and peer != "perijove"
        }

    def markdown(self) -> str:
        lines = ["# Measurements", ""]
        for workload, servers in self.samples.items():
            lines += [
                f"## {workload}",
                "",
                "| server | requests per CPU-second | µs CPU | requests/s | p99 ms | perijove is |",
                "| --- | ---: | ---: | ---: | ---: | ---: |",
            ]
            ratios = self.ratios(workload)
            for server, samples in servers.items():
                rate = self.per_cpu(workload, server)
                speed = median(s.requests / s.seconds for s in samples)
                p99 = [s.p99_ms for s in samples if s.p99_ms is not None]
                ratio = f"{ratios[server]:.2f}×" if server in ratios else ""
                wrong = sum(s.errors for s in samples)
                name = f"{server} ({wrong} errors)" if wrong else server
                lines.append(
                    f"| {name} | {rate:,.0f} | {1e6 / rate if rate else 0:.1f} | {speed:,.0f} "
                    f"| {f'{median(p99):.2f}' if p99 else ''} | {ratio} |"
                )
            lines.append("")
        for name, servers in self.figures.items():
            lines += [
                f"## {name}",
                "",
                "| server | median | min | max | n |",
                "| --- | ---: | ---: | ---: | ---: |",
            ]
            for server, values in servers.items():
                lines.append(
                    f"| {server} | {median(values):.2f} | {min(values):.2f} "
                    f"| {max(values):.2f} | {len(values)} |"
                )
            lines.append("")
        lines += ["## Command lines", ""]
        for group, servers in self.commands.items():
            for server, commands in servers.items():
                lines.append(f"- {group}, {server}: " + ", ".join(f"`{it}`" for it in commands))
        return "\n".join(lines) + "\n"

    def write(self, folder: Path) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        (folder / "results.md").write_text(self.markdown())
        raw = {
            w: {s: [vars(x) for x in xs] for s, xs in ss.items()} for w, ss in self.samples.items()
        }
        (folder / "results.json").write_text(
            json.dumps({"loads": raw, "figures": self.figures}, indent=1)
        )
