#!/usr/bin/env python3
"""A program that is started to take over, and does it badly: its own name says how."""

import json
import os
import signal
import socket
import sys
import time

stream = socket.socket(fileno=int(os.environ["PERIJOVE_HANDOVER"]))
lines = stream.makefile("r", encoding="utf-8")


def say(**what):
    stream.sendall(json.dumps(what).encode() + b"\n")


def hello(protocol=1):
    say(says="hello", protocol=protocol, version="9.9.9")
    return json.loads(lines.readline()) if protocol == 1 else None


def until_yours():
    hello()
    say(says="ready")
    assert json.loads(lines.readline())["says"] == "yours"


def ends_at_once():
    sys.exit(3)


def speaks_otherwise():
    hello(protocol=99)
    time.sleep(60)


def talks_nonsense():
    stream.sendall(b"HTTP/1.1 200 OK\n")
    time.sleep(60)


def fails():
    hello()
    say(says="failed", reason="it has a reason of its own")


def is_never_ready():
    hello()
    time.sleep(60)


def dies_before_it_is_ready():
    hello()
    os.kill(os.getpid(), signal.SIGKILL)


def dies_instead_of_taking():
    until_yours()
    os.kill(os.getpid(), signal.SIGKILL)


def fails_to_take():
    until_yours()
    say(says="failed", reason="the state is unreadable")


def kills_the_old_one():
    until_yours()
    os.kill(os.getppid(), signal.SIGKILL)


def dies_after_taking():
    until_yours()
    say(says="taken")


globals()[os.path.basename(sys.argv[0])]()
