"""The entry of the admin that leads to the dashboard: a model without a table, whose permission hides or shows it."""

from __future__ import annotations

from typing import ClassVar

from django.db import models


class Dashboard(models.Model):  # type: ignore[misc]  # Django has no types
    """The dashboard of jobfleet. Users with the permission `jobfleet.view_dashboard` see the link."""

    class Meta:
        """It has no table, and one permission."""

        app_label = "jobfleet"
        managed = False
        default_permissions: ClassVar[tuple[str, ...]] = ("view",)
        verbose_name = "dashboard"
        verbose_name_plural = "dashboard"

    def __str__(self) -> str:
        return "dashboard"
