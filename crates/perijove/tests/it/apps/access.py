"""Who may pass, as scripts for mod_wsgi say it."""

import os

PASSWORDS = {"ada": "secret", "bob": "hidden", "josé": "señal:1"}
GROUPS = {"ada": ["staff", "admin"], "bob": [b"staff"]}


def note(what):
    with open("asked.txt", "a") as file:
        file.write(what + "\n")


def check_password(environ, user, password):
    note(f"password {user} {environ['REMOTE_ADDR']}")
    # What is remembered of a user is not for one path only.
    assert not {"HTTP_AUTHORIZATION", "PATH_INFO", "QUERY_STRING", "HTTP_COOKIE"} & set(environ)
    if user == "trouble":
        raise RuntimeError("the directory of users is away")
    if user == "vague":
        return "perhaps"
    if user not in PASSWORDS:
        return None
    return PASSWORDS[user] == password


def groups_for_user(environ, user):
    return GROUPS.get(user, [])


def allow_access(environ, host):
    note(f"allow {host}")
    return not os.path.exists("closed")
