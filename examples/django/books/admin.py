"""Books in the admin."""

from django.contrib import admin

from books.models import Book

admin.site.register(Book, list_display=("title", "author"), search_fields=("title", "author"))
