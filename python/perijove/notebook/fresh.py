"""Makes a fork what a process is that was started for one user and nothing else."""

from __future__ import annotations

import ctypes
import importlib
import json
import os
import random
import signal
import site
import sys
import sysconfig
import tempfile
import time
import uuid
from collections.abc import Callable
from typing import Any

# Of prctl(2).
PR_SET_PDEATHSIG = 1


def read_identity(descriptor: int) -> dict[str, Any]:
    """What the guardian says first: its length and, in so many bytes, who this process is to be.

    Not a byte more is read: what follows is not for kernels, which are forked in between.
    """
    length = b""
    while not length.endswith(b"\n"):
        byte = os.read(descriptor, 1)
        if not byte:
            # The guardian has given up, and said so.
            os._exit(70)
        length += byte
    missing = int(length)
    pieces = []
    while missing > 0:
        piece = os.read(descriptor, missing)
        if not piece:
            os._exit(70)
        pieces.append(piece)
        missing -= len(piece)
    told: dict[str, Any] = json.loads(b"".join(pieces))
    return told


def become(told: dict[str, Any], guardian: int, confine: Callable[[str], None]) -> None:
    """Takes account, limits and sandbox for good, before anything of the user's is looked at."""
    confine(json.dumps(told["confinement"]))
    # After the account, which clears it.
    ctypes.CDLL(None, use_errno=True).prctl(PR_SET_PDEATHSIG, signal.SIGTERM, 0, 0, 0)
    if os.getppid() != guardian:
        os._exit(70)
    begin_anew(told["environment"], told["folder"], [told["program"], *told["arguments"]])


def begin_anew(environment: dict[str, str], folder: str, command: list[str]) -> None:
    """Environment, folder and arguments as given, and nothing that was drawn before the fork."""
    os.chdir(folder)
    os.environ.clear()
    os.environ.update(environment)
    sys.orig_argv = command
    sys.argv = command[1:]
    time.tzset()
    renew_randomness()
    renew_paths()


def renew_randomness() -> None:
    """What is drawn once a process and kept. OpenSSL and `secrets` ask the system each time, or
    notice a fork by themselves."""
    random.seed()
    if (numpy := sys.modules.get("numpy.random")) is not None:
        numpy.seed()
    uuid._node = None  # type: ignore[attr-defined]
    uuid._last_timestamp = None  # type: ignore[attr-defined]
    tempfile._name_sequence = None  # type: ignore[attr-defined]
    if (process := sys.modules.get("multiprocessing.process")) is not None:
        process.current_process().authkey = os.urandom(32)


def renew_paths() -> None:
    """What was found out when the zygote imported it, and is each user's own."""
    tempfile.tempdir = None
    sysconfig.get_config_vars()["userbase"] = os.path.join(os.path.expanduser("~"), ".local")
    site.USER_BASE = site.USER_SITE = None
    site.getusersitepackages()
    if (trash := sys.modules.get("send2trash.plat_other")) is not None:
        importlib.reload(trash)
    for owner, name, found in PERSONAL_DEFAULTS:
        set_default(owner, name, personal(found))
    if (session := sys.modules.get("jupyter_client.session")) is not None:
        set_default(session.Session, "username", os.environ.get("USER", "username"))


# Where the zygote has looked for what is a user's own, and the variables that have named it: there
# is nothing.
PLACES = {
    os.environ.get(name, ""): name
    for name in ("HOME", "JUPYTER_CONFIG_DIR", "JUPYTER_DATA_DIR", "JUPYTER_RUNTIME_DIR")
}
# Defaults of traits that lie there: class, name, and the value that was found.
PERSONAL_DEFAULTS: list[tuple[Any, str, str]] = []


def find_personal_defaults() -> None:
    """Looks through all classes with traits that the zygote knows."""
    from traitlets import HasTraits, TraitType

    for owner in descendants(HasTraits):
        for name, trait in vars(owner).items():
            found = getattr(trait, "default_value", None)
            if (
                isinstance(trait, TraitType)
                and isinstance(found, str)
                and personal(found) is not None
            ):
                PERSONAL_DEFAULTS.append((owner, name, found))


def personal(found: str) -> str | None:
    """The same place as this environment has it; None when it is not one of them."""
    for place, name in PLACES.items():
        if place and (found == place or found.startswith(place + "/")):
            return os.environ.get(name, place) + found[len(place) :]
    return None


def set_default(owner: Any, name: str, value: Any) -> None:
    """Sets the default of a trait, which classes copy when they are made."""
    vars(owner)[name].default_value = value
    for kind in [owner, *descendants(owner)]:
        kept = vars(kind).get("_static_immutable_initial_values", {})
        if name in kept and name in dir(kind):
            kept[name] = value


def descendants(owner: type) -> list[type]:
    found: list[type] = list(owner.__subclasses__())
    for kind in found:
        found.extend(set(kind.__subclasses__()) - set(found))
    return found
