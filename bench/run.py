"""Measures perijove beside its peers: same machine, same cores, interleaved rounds, medians.

Every server runs on CPU 0; the load and whatever stands behind a proxy run on CPU 1. What counts is
requests per CPU-second of all the server's processes together, which a busy machine disturbs least.
"""

from __future__ import annotations

import argparse
import contextlib
import importlib
import os
import sys
import tempfile
import time
import traceback
from pathlib import Path

from precedence import precedence
from servers import TREE, Tools

from bench import HERE, Bench, log


def main() -> int:
    options = arguments()
    with precedence() if options.before_others else contextlib.nullcontext():
        return measure(options)


def measure(options: argparse.Namespace) -> int:
    os.environ.setdefault("PERIJOVE_PACKAGE", str(TREE / "python" / "perijove"))
    tools = Tools(options.perijove, options.python, options.node_modules)
    failed = []
    with tempfile.TemporaryDirectory(prefix="pjb") as name:
        folder = Path(name)
        folder.chmod(0o755)
        bench = Bench(tools, options.rounds, options.seconds, folder)
        for group in options.groups:
            bench.group, begin = group, time.monotonic()
            try:
                importlib.import_module(f"groups.{group}").run(bench)
            except Exception:
                traceback.print_exc()
                failed.append(group)
            log(f"{group}: {time.monotonic() - begin:.0f} s")
            bench.results.write(options.output)
    print(bench.results.markdown())
    if failed:
        log(f"these groups ended early: {', '.join(failed)}")
    return 1 if failed else 0


def arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__)
    all_groups = sorted(file.stem for file in (HERE / "groups").glob("*.py"))
    parser.add_argument("groups", nargs="*", default=all_groups, metavar="GROUP")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--seconds", type=float, default=1.0)
    parser.add_argument("--perijove", type=Path, default=TREE / "target/release/perijove")
    parser.add_argument("--python", type=Path, default=TREE / "target/bench/bin/python")
    parser.add_argument("--node-modules", type=Path, default=TREE / "target/bench/node_modules")
    parser.add_argument("--output", type=Path, default=HERE / "out")
    parser.add_argument(
        "--before-others",
        action="store_true",
        help="servers and clients go before all else that the machine does (as root)",
    )
    options = parser.parse_args()
    for group in options.groups:
        if group not in all_groups:
            parser.error(f"no group {group}: {', '.join(all_groups)}")
    return options


if __name__ == "__main__":
    sys.exit(main())
