"""Answers with what it was told of the request."""

import json


def application(environ, start_response):
    shown = {
        key: value if isinstance(value, (str, int, tuple)) else type(value).__name__
        for key, value in environ.items()
    }
    start_response("200 OK", [("Content-Type", "application/json")])
    return [json.dumps(shown).encode()]
