"""The public pages."""

from django.shortcuts import get_object_or_404, render

from books.models import Book


def shelf(request):
    return render(request, "books/shelf.html", {"books": Book.objects.all()})


def book(request, number):
    return render(request, "books/book.html", {"book": get_object_or_404(Book, pk=number)})
