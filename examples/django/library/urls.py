"""Where things are."""

from books.shells import notebook, shell, shutdown
from books.views import book, shelf
from django.contrib import admin
from django.urls import path, re_path

urlpatterns = [
    path("", shelf, name="shelf"),
    path("books/<int:number>/", book, name="book"),
    path("books/<int:number>/shell", shell, name="shell"),
    path("admin/", admin.site.urls),
    # First: it lies below the next one, which takes whatever a notebook's address may have in it.
    path("notebook/shutdown", shutdown, name="shutdown_notebook"),
    re_path("^notebook/", notebook, name="notebook_proxy"),
]
