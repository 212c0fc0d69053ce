"""Lets a site be a table of small functions, one for each behaviour that a test is about."""

VIEWS = {}


def view(path):
    def register(function):
        VIEWS[path] = function
        return function

    return register


def application(environ, start_response):
    return VIEWS[environ["PATH_INFO"]](environ, start_response)


def plain(start_response, *headers, status="200 OK"):
    return start_response(status, [("Content-Type", "text/plain"), *headers])
