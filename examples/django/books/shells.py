"""The views for notebooks: open a shell on a book, shut it down, let its owner pass."""

from functools import wraps

from django.conf import settings
from django.contrib.auth.decorators import login_required
from django.core.exceptions import PermissionDenied
from django.http import HttpRequest, HttpResponse
from django.shortcuts import get_object_or_404, redirect
from django.views.decorators.http import require_http_methods
from perijove import startup
from perijove.django import ashutdown_notebook, launch_notebook, make_startup, notebook_proxy

from books.models import Book


def check(user) -> str:
    """The name of a user who may have a shell: it can do what the site itself can."""
    if user.get_username() not in settings.SHELL_USERS:
        raise PermissionDenied("you are not on the list of those who may open a shell")
    return user.get_username()


def with_shell(view):
    """For views of those who have signed in, and are on the list."""

    @login_required
    @wraps(view)
    def checked(request: HttpRequest, *arguments, **options) -> HttpResponse:
        return view(request, check(request.user), *arguments, **options)

    return checked


@require_http_methods(["GET", "POST"])
@with_shell
def shell(request: HttpRequest, user: str, number: int) -> HttpResponse:
    """A shell with all models, and one book in the variable `book`."""
    book = get_object_or_404(Book, pk=number)
    context = {}
    make_startup(context)
    startup.add_script(context, f"book = Book.objects.get(pk={book.pk})")
    startup.add_greeting(context, f"* **book** – the book number {book.pk}")
    return launch_notebook(request, user, context)


@login_required
async def shutdown(request: HttpRequest) -> HttpResponse:
    """End the visitor's notebook: a coroutine, so that nothing waits for it."""
    user = check(await request.auser())
    return await ashutdown_notebook(request, user) or redirect("shelf")


@with_shell
def notebook(request: HttpRequest, user: str) -> HttpResponse:
    """Tell perijove whose notebook a visitor may use."""
    return notebook_proxy(request, user)
