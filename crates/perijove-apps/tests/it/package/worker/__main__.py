"""Stands in for the worker: greets as it does, and otherwise behaves as the site's folder says."""

import json
import os
import signal
import socket
import struct
import sys
import threading

HELLO, REQUEST, READY, RESPONSE = 1, 2, 16, 17


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
    if behaviour == "crash" or (behaviour == "crash once" and crashes_first()):
        print("no memory", file=sys.stderr)
        return 1
    if behaviour == "hang":
        print("still loading", flush=True)
        threading.Event().wait()
    if behaviour == "deaf":
        signal.signal(signal.SIGTERM, signal.SIG_IGN)
    return serve(socket.socket(fileno=start["socket"]), start, behaviour)


def end_with_the_program():
    sys.stdin.read()
    os._exit(0)


def crashes_first():
    try:
        os.mkdir("crashed")
    except FileExistsError:
        return False
    return True


def serve(listener, start, behaviour):
    while True:
        connection, _ = listener.accept()
        with connection, connection.makefile("rb") as stream:
            length, kind = struct.unpack("<IB7x", stream.read(12))
            version, secret = stream.read(1), stream.read(length - 1)
            if (kind, version, secret.decode()) == (HELLO, b"\x01", start["secret"]):
                connection.sendall(struct.pack("<IB7xBH", 3, READY, 1, start["threads"]))
                answer_health(connection, stream, behaviour)


def answer_health(connection, stream, behaviour):
    header = stream.read(12)
    if header:
        length, _, id = struct.unpack("<IB3xI", header)
        target = stream.read(length).split(b"GET\0\0")[1]
        is_well = behaviour != "unwell" and target[2:9] == b"/health"
        status = 204 if is_well else 503
        connection.sendall(struct.pack("<IBB2xIHHI", 8, RESPONSE, 1, id, status, 0, 0))
        stream.read()


sys.exit(main())
