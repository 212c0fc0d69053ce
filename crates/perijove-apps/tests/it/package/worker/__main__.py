"""Stands in for the worker: greets as it does, and otherwise behaves as the site's folder says."""

import json
import os
import signal
import socket
import struct
import sys
import threading

HELLO, READY = 1, 16


def main():
    start = json.loads(sys.stdin.readline())
    threading.Thread(target=end_with_the_program, daemon=True).start()
    with open("behaviour") as file:
        behaviour = file.read().strip()
    with open(f"seen-{os.getpid()}", "w") as file:
        json.dump({"start": start, "environment": dict(os.environ), "folder": os.getcwd()}, file)
    if behaviour == "fail":
        print("Traceback (most recent call last):\nImportError: no shop", file=sys.stderr)
        return 78
    if behaviour == "crash" or behaviour == "crash once" and crashes_first():
        print("no memory", file=sys.stderr)
        return 1
    if behaviour == "hang":
        print("still loading", flush=True)
        threading.Event().wait()
    if behaviour == "deaf":
        signal.signal(signal.SIGTERM, signal.SIG_IGN)
    return serve(socket.socket(fileno=start["socket"]), start)


def end_with_the_program():
    sys.stdin.read()
    os._exit(0)


def crashes_first():
    try:
        os.mkdir("crashed")
    except FileExistsError:
        return False
    return True


def serve(listener, start):
    while True:
        connection, _ = listener.accept()
        with connection, connection.makefile("rb") as stream:
            length, kind = struct.unpack("<IB7x", stream.read(12))
            version, secret = stream.read(1), stream.read(length - 1)
            if (kind, version, secret.decode()) == (HELLO, b"\x01", start["secret"]):
                connection.sendall(struct.pack("<IB7xBH", 3, READY, 1, start["threads"]))
                stream.read()


sys.exit(main())
