"""Who the visitor is and what that allows."""

from pyramid.authorization import Allow, Authenticated
from pyramid.settings import aslist

from . import models


class Root:
    __acl__ = (
        (Allow, Authenticated, "view"),
        (Allow, "group:editors", "edit"),
        (Allow, "superuser:superuser", "shell"),
    )

    def __init__(self, request):
        self.request = request


def find_groups(userid, request):
    """The groups of a user; being a superuser comes from the INI file alone."""
    superusers = aslist(request.registry.settings.get("backoffice.superusers", ""))
    user = models.DBSession.get(models.User, userid)
    if user is None or not user.can_login():
        return None
    principals = [f"group:{group.name}" for group in user.groups]
    if user.username in superusers or user.email in superusers:
        principals.append("superuser:superuser")
    return principals


def get_user(request):
    userid = request.unauthenticated_userid
    return None if userid is None else models.DBSession.get(models.User, userid)
