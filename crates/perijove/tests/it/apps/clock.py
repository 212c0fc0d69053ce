"""A daemon that must be the only one of its kind: it notes when it begins and when it ends."""

import os
import signal
import time


def note(what):
    with open("clock.log", "a", encoding="utf-8") as log:
        log.write(f"{what}\n")


def end(number, frame):
    note("end")
    os._exit(0)


signal.signal(signal.SIGTERM, end)
note("begin")
while True:
    time.sleep(60)
