"""Stands in for Jupyter: the smallest server that a hub can start, on the socket it is given."""

import base64
import hashlib
import json
import os
import signal
import socket
import sys
import threading
import time

told = json.loads(sys.stdin.read())
base = told["base_url"]
behaviour = os.environ.get("FAKE", "")
print("the fake starts", file=sys.stderr, flush=True)
if behaviour == "missing":
    print("jupyterlab is not installed", file=sys.stderr, flush=True)
    sys.exit(69)
if behaviour == "dies":
    raise RuntimeError("a fault in the configuration")
count = 0
cell = {"base": base}
last, busy = time.time(), False


def handle(connection):
    global count, last, busy
    file = connection.makefile("rb")
    while True:
        line = file.readline().decode("latin-1")
        if not line:
            return None
        method, target, _ = line.split(" ", 2)
        fields = {}
        while (field := file.readline().decode("latin-1").strip()) != "":
            name, _, value = field.partition(":")
            fields[name.lower()] = value.strip()
        body = file.read(int(fields.get("content-length", 0)))
        if "upgrade" in fields:
            return echo(connection, file, fields)
        path = target[len(base) :] if target.startswith(base) else None
        answer, extra = b"{}", b""
        status = "200 OK"
        if path == "api":
            answer = b'{"version": "0"}'
        elif path == "count":
            count += 1
            answer = json.dumps({"count": count, "pid": os.getpid()}).encode()
        elif path == "environment":
            answer = json.dumps(dict(os.environ)).encode()
        elif path == "cookie":
            extra = b"Set-Cookie: own=1; Path=/\r\nSet-Cookie: session=stolen; Path=/\r\n"
        elif path == "cached":
            extra = b"Cache-Control: public, max-age=31536000\r\n"
        elif path == "run":
            # What a user's cell does: any Python, which says what came of it in `result`.
            try:
                exec(body.decode(), cell)
                answer = json.dumps({"result": cell.get("result")}).encode()
            except BaseException as error:
                answer = json.dumps({"error": repr(error)}).encode()
        elif path == "api/perijove/activity":
            last = time.time() if method == "POST" else last
            active = time.time() if busy else last
            answer = json.dumps({"last_action": last, "last_active": active, "busy": busy}).encode()
        elif path in ("busy", "rest"):
            busy = path == "busy"
        elif path == "exit":
            os.kill(os.getpid(), signal.SIGKILL)
        elif path is not None and path.startswith("request"):
            seen = {"method": method, "target": target, "fields": fields, "body": body.decode()}
            answer = json.dumps({**seen, "told": {**told, "token": None}}).encode()
        else:
            status = "404 Not Found"
        if fields.get("authorization") != "token " + told["token"]:
            status, answer = "401 Unauthorized", b"{}"
        head = f"HTTP/1.1 {status}\r\nContent-Type: application/json\r\n"
        head += f"Content-Length: {len(answer)}\r\n"
        connection.sendall(head.encode() + extra + b"\r\n" + answer)
        if fields.get("connection") == "close":
            return connection.shutdown(socket.SHUT_RDWR)


def echo(connection, file, fields):
    key = fields["sec-websocket-key"] + "258EAFA5-E914-47DA-95CA-C5AB0DC85B11"
    accept = base64.b64encode(hashlib.sha1(key.encode()).digest()).decode()
    head = "HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
    connection.sendall(f"{head}Sec-WebSocket-Accept: {accept}\r\n\r\n".encode())
    while True:
        # One small masked frame at a time, sent back without its mask.
        first = file.read(6)
        if len(first) < 6:
            return
        length = first[1] & 0x7F
        data = bytes(byte ^ first[2 + place % 4] for place, byte in enumerate(file.read(length)))
        connection.sendall(bytes([first[0], length]) + data)
        if first[0] & 0x0F == 8:
            return


listener = socket.socket(fileno=told["socket"])
if behaviour == "hangs":
    threading.Event().wait()
while True:
    connection, _ = listener.accept()
    threading.Thread(target=handle, args=(connection,), daemon=True).start()
