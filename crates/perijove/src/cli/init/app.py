"""The smallest site: one page."""

PAGE = b"""<!doctype html>
<title>It works</title>
<link rel="stylesheet" href="/style.css">
<h1>It works</h1>
<p>This page comes from <code>app.py</code>, its style from <code>public/</code>.</p>
"""


def application(environ, start_response):
    if environ["PATH_INFO"] != "/":
        start_response("404 Not Found", [("Content-Type", "text/plain")])
        return [b"not here\n"]
    start_response("200 OK", [("Content-Type", "text/html; charset=utf-8")])
    return [PAGE]
