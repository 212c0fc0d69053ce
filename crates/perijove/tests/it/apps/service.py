"""A service of the stories: answers on its Unix socket with what it knows of itself."""

import json
import os
import signal
import socketserver
import sys
import time
from http.server import BaseHTTPRequestHandler

VERSION = "one"


class Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def do_POST(self):
        os._exit(1)

    def do_GET(self):
        known = {"pid": os.getpid(), "version": VERSION, "path": self.path}
        known |= {
            key: os.environ.get(key) for key in ("COLOUR", "SECRET", "SOCKET", "PERIJOVE_CONTROL")
        }
        body = json.dumps(known).encode()
        self.send_response(200)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def address_string(self):
        return "client"

    def log_message(self, *arguments):
        pass


class Server(socketserver.ThreadingUnixStreamServer):
    daemon_threads = True


def main():
    if VERSION == "broken":
        sys.exit("this version does not start")
    print("serving version", VERSION, *sys.argv[1:], flush=True)
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(0))
    if "SOCKET" not in os.environ:
        with open("alone", "a") as file:
            file.write(f"{os.getpid()}\n")
        while True:
            time.sleep(0.1)
    with Server(os.environ["SOCKET"], Handler) as server:
        server.serve_forever()


main()
