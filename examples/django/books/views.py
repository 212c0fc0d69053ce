"""The public shelf."""

from django.shortcuts import render

from books.models import Book


def shelf(request):
    return render(request, "books/shelf.html", {"books": Book.objects.all()})
