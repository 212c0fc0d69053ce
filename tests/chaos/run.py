"""Twenty users at work while everything is done to perijove that can happen to it.

    python tests/chaos/run.py --seconds 600 --seed 7

Afterwards every save that was acknowledged is on the disk, byte by byte, and every kernel that
nobody killed on purpose has counted on. The seed stands in the first line; it decides on the order
of faults and on what users do, while the machine decides on what meets what.
"""

from __future__ import annotations

import argparse
import os
import random
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from faults import Faults
from served import DISK, TREE, Served, processes_in
from user import ABSENCE, Seen, User
from windows import Windows

USERS, WITH_WINDOWS = 20, 2
#: Set in the name space of mounts that the small disk is in.
INSIDE = "PERIJOVE_CHAOS_INSIDE"


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seconds", type=float, default=60)
    parser.add_argument("--seed", type=int, default=random.randrange(1 << 32))
    parser.add_argument("--least", type=int, default=1, help="how often each fault must happen")
    wanted = parser.parse_args()
    if not os.environ.get(INSIDE):
        return go_inside(wanted)
    print(f"chaos for {wanted.seconds:.0f} s, --seed {wanted.seed}", flush=True)
    seen = Seen()
    with tempfile.TemporaryDirectory(prefix="pj") as name:
        folder = Path(name)
        disk = folder / "disk"
        disk.mkdir(mode=0o700)
        mount = ["mount", "-t", "tmpfs", "-o", f"size={DISK},mode=700", "small", disk]
        subprocess.run(mount, check=True)
        try:
            chaos(Served(folder, disk), wanted, seen)
        finally:
            if seen.wrong:
                keep(folder, disk, wanted.seed)
            subprocess.run(["umount", "--lazy", disk], check=True)
    for wrong in seen.wrong:
        print(f"WRONG: {wrong}")
    return 1 if seen.wrong else 0


def keep(folder: Path, disk: Path, seed: int) -> None:
    """What the logs say is wanted when something was wrong."""
    place = TREE / "target/chaos" / str(seed)
    place.mkdir(parents=True, exist_ok=True)
    for log in (folder / "perijove.log", *disk.glob("*.log"), *disk.glob("state/notebooks/*/*")):
        if log.is_file():
            name = str(log.relative_to(folder)).replace("/", "-")
            (place / name).write_bytes(log.read_bytes())
    print(f"the logs are in {place}", flush=True)


def go_inside(wanted: argparse.Namespace) -> int:
    """A disk of one's own needs no root where the system lets users have name spaces."""
    command = ["unshare", "--mount"]
    if os.geteuid() != 0:
        command += ["--user", "--map-root-user"]
    arguments = [f"--{name}={value}" for name, value in vars(wanted).items()]
    command += [sys.executable, __file__, *arguments]
    return subprocess.run(command, env={**os.environ, INSIDE: "1"}).returncode


def chaos(served: Served, wanted: argparse.Namespace, seen: Seen) -> None:
    dice = random.Random(wanted.seed)
    served.start()
    names = [f"user{number:02}" for number in range(USERS)]
    working, windowed = names[:-WITH_WINDOWS], names[-WITH_WINDOWS:]
    users = [
        User(served.listen, name, [o for o in names if o != name], dice.randrange(1 << 32), seen)
        for name in working
    ]
    windows = Windows(served.listen, windowed, seen)
    begun = time.monotonic()
    faults = Faults(served, users, dice.randrange(1 << 32), seen)
    try:
        for thread in [*users, windows]:
            thread.start()
        for worker in [*users, *windows.people]:
            if not worker.at_work.wait(ABSENCE):
                seen.complain(f"{worker.name} does not begin to work")
        print(f"all at work after {time.monotonic() - begun:.1f} s", flush=True)
        begun = time.monotonic()
        faults.run(wanted.seconds, wanted.least)
        lasted = time.monotonic() - begun
        settle(users, windows, seen)
        for user in users:
            for file in user.files:
                path = served.disk / "folders" / user.name / file.name
                user.check(file, path.read_bytes() if path.exists() else None)
        for person in windows.people:
            person.check(served.disk / "folders" / person.name)
    finally:
        served.stop()
    if left := processes_in(served.folder):
        seen.complain(f"what is left behind: {left}")
    report(faults, users, seen, lasted)


def settle(users: list[User], windows: Windows, seen: Seen) -> None:
    """All is quiet: everybody comes back once more, and goes."""
    for user in users:
        user.at_work.clear()
    windows.stopping.set()
    for user in users:
        if not user.at_work.wait(ABSENCE):
            seen.complain(f"{user.name} does not come back")
        user.stopping.set()
    for thread in [*users, windows]:
        thread.join(4 * ABSENCE)
        if thread.is_alive():
            seen.complain(f"{thread.name} does not end")


def report(faults: Faults, users: list[User], seen: Seen, lasted: float) -> None:
    happened = ", ".join(f"{kind} {count} times" for kind, count in faults.count.items())
    kept = sum(file.kept is not None for user in users for file in user.files)
    print(
        f"{lasted:.0f} s: {happened}\n"
        f"{USERS} users, {WITH_WINDOWS} of them in Chromium: {seen.counts} cells were run, "
        f"{seen.saves} saves acknowledged and {seen.refused_saves} refused, {seen.read_back} files "
        f"read back, {seen.trespasses} trespasses tried; {seen.returns} times somebody came, after "
        f"{seen.longest_absence:.1f} s at most; {seen.mourned} kernels ended as they should\n"
        f"in the end {kept} files were compared byte by byte with what was acknowledged"
    )
    for trouble, times in sorted(seen.troubles.items(), key=lambda one: -one[1])[:25]:
        print(f"  {times} times: {trouble}")


if __name__ == "__main__":
    sys.exit(main())
