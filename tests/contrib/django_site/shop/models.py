"""Orders, which tasks count."""

from django.db import models


class Order(models.Model):  # type: ignore[misc]  # Django has no types
    """An order."""

    number = models.IntegerField()

    class Meta:
        """Of this application."""

        app_label = "shop"

    def __str__(self) -> str:
        return f"order {self.number}"
