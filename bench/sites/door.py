"""The site of the notebook measurements: one user by cookie, a launch, a yes to every question."""

from http.cookies import SimpleCookie

from perijove.control import Control


def application(environ, start_response):
    cookie = SimpleCookie(environ.get("HTTP_COOKIE", "")).get("user")
    user = cookie.value if cookie else ""
    if not user:
        start_response("403 Forbidden", [("Content-Type", "text/plain")])
        return [b"nobody is signed in\n"]
    if environ.get("HTTP_PERIJOVE_QUESTION") == "notebook":
        start_response("200 OK", [("Perijove-User", user), ("Content-Length", "0")])
        return []
    if environ["PATH_INFO"] == "/launch":
        url = Control().launch(user, {}).url
        start_response("303 See Other", [("Location", url), ("Content-Length", "0")])
        return []
    start_response("200 OK", [("Content-Type", "text/plain")])
    return [b"hello\n"]
