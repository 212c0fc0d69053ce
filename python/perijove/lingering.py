"""Runs a perijove for notebooks alone for as long as a site needs it, and some minutes more.

Started by `alone.py` as a program of its own: COMMAND CONFIG FOLDER. A site that needs it holds a
shared lock on `needed.lock` in the folder, which the system gives back however that process ends.
The address is written to `address` there.
"""

import fcntl
import os
import signal
import subprocess
import sys
import threading
import time

#: How long it goes on when nobody holds the lock, in seconds.
LINGER = float(os.environ.get("PERIJOVE_LINGER", "600"))

#: How often it is looked, in seconds.
PAUSE = 1.0


def main(command: str, config: str, folder: str) -> int:
    """Serve until nobody needs it."""
    # Settings for the developer's own site are none of this one's.
    own = ("PERIJOVE_PACKAGE",)
    environment = {
        name: value
        for name, value in os.environ.items()
        if name in own or not name.startswith("PERIJOVE_")
    }
    serving = subprocess.Popen(
        [command, "serve", "--config", config],
        env=environment,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        text=True,
        encoding="utf-8",
    )
    signal.signal(signal.SIGTERM, lambda *_: serving.terminate())
    threading.Thread(target=_note, args=(serving, folder), daemon=True).start()
    quiet_since = time.monotonic()
    while serving.poll() is None:
        time.sleep(PAUSE)
        now = time.monotonic()
        if _is_needed(folder):
            quiet_since = now
        elif now - quiet_since > LINGER:
            stop = [command, "notebook", "stop", "--all", "--config", config]
            subprocess.run(stop, env=environment, check=False)
            serving.terminate()
            serving.wait()
    return serving.returncode


def _note(serving: "subprocess.Popen[str]", folder: str) -> None:
    """Write down where it listens."""
    for line in serving.stdout or ():
        if line.startswith("ready: "):
            fresh = os.path.join(folder, "address.new")
            with open(fresh, "w", encoding="ascii") as file:
                file.write(line.removeprefix("ready: "))
            os.replace(fresh, os.path.join(folder, "address"))


def _is_needed(folder: str) -> bool:
    descriptor = os.open(os.path.join(folder, "needed.lock"), os.O_RDWR | os.O_CREAT, 0o600)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return True
    else:
        return False
    finally:
        os.close(descriptor)


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:]))
