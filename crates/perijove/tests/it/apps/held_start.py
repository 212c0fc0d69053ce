"""An application whose import waits for a file, where another file says so."""

import os
import time

open(f"importing-{os.getpid()}", "w").close()
while os.path.exists("hold"):
    time.sleep(0.01)


def application(environ, start_response):
    if environ["PATH_INFO"] == "/upload":
        length = 0
        while chunk := environ["wsgi.input"].read(65536):
            length += len(chunk)
        body = str(length).encode()
    else:
        body = b"hello\n"
    start_response("200 OK", [("Content-Type", "text/plain")])
    return [body]
