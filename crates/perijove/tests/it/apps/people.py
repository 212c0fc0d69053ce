"""A site with people: a cookie says who they are, a file who may have a notebook."""

from urllib.parse import parse_qs, quote, unquote

from perijove.control import Control, ControlError


def application(environ, start_response):
    user = visitor(environ)
    path = environ["PATH_INFO"]
    if path == "/launch":
        return launch(environ, start_response, user)
    if not path.startswith("/notebook/"):
        return answer(start_response, "200 OK", f"hello {user}\n")
    if user is None:
        return answer(start_response, "401 Unauthorized", "log in first\n")
    if user not in allowed():
        return answer(start_response, "403 Forbidden", "you are not on the list\n")
    return answer(start_response, "200 OK", "", ("Perijove-User", quote(user, safe="-_~")))


def who(environ):
    fields = {"Cookie": environ.get("HTTP_COOKIE", "")}
    origin = f"{environ['wsgi.url_scheme']}://{environ['HTTP_HOST']}"
    return {"origin": origin, "fields": fields, "address": environ["REMOTE_ADDR"]}


def visitor(environ):
    for pair in environ.get("HTTP_COOKIE", "").split("; "):
        name, _, value = pair.partition("=")
        if name == "visitor":
            return unquote(value)
    return None


def allowed():
    with open("allowed", encoding="utf-8") as lines:
        return lines.read().splitlines()


def launch(environ, start_response, user):
    if user not in allowed():
        return answer(start_response, "403 Forbidden", "you are not on the list\n")
    query = parse_qs(environ["QUERY_STRING"])
    context = {"startup": query.get("startup", [""])[0], "greeting": "* **a** - a number"}
    try:
        launched = Control().launch(user, context, visitor=who(environ))
    except (ControlError, ValueError) as error:
        return answer(start_response, "500 Internal Server Error", str(error))
    return answer(start_response, "303 See Other", "", ("Location", launched.url))


def answer(start_response, status, text, *fields):
    start_response(status, [("Content-Type", "text/plain; charset=utf-8"), *fields])
    return [text.encode()]
