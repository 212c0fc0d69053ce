"""Where things are."""

from books.views import shelf
from django.contrib import admin
from django.urls import path

urlpatterns = [
    path("", shelf, name="shelf"),
    path("admin/", admin.site.urls),
]
