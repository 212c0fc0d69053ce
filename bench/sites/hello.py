"""The application that is measured: small, large and uploaded bodies, without a framework."""

LARGE = b"x" * 102400


def application(environ, start_response):
    path = environ["PATH_INFO"]
    if path == "/large":
        body = LARGE
    elif path == "/upload":
        body = b"%d\n" % len(environ["wsgi.input"].read())
    else:
        body = b"Hello, World!"
    start_response("200 OK", [("Content-Type", "text/plain"), ("Content-Length", str(len(body)))])
    return [body]
