"""What the library has."""

from django.db import models


class Book(models.Model):
    title = models.CharField(max_length=200)
    author = models.CharField(max_length=200)
    cover = models.FileField(upload_to="covers/", blank=True)

    class Meta:
        ordering = ("title",)

    def __str__(self) -> str:
        return f"{self.title} by {self.author}"
