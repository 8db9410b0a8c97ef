"""The application: it makes the default fleet from Django's settings."""

from __future__ import annotations

from django.apps import AppConfig

from jobfleet.contrib.django.settings import given_settings
from jobfleet.fleet.default import configure
from jobfleet.functions.default_fleet import offered_settings


class JobfleetConfig(AppConfig):  # type: ignore[misc]  # Django has no types
    """jobfleet in a Django project."""

    name = "jobfleet.contrib.django"
    label = "jobfleet"
    verbose_name = "jobfleet"
    default_auto_field = "django.db.models.AutoField"

    def ready(self) -> None:
        """Make the default fleet. In a worker there is one already, with the settings of the worker.

        Raises:
            ConfigError: A setting in `JOBFLEET` is wrong.
        """
        if offered_settings() is None and (settings := given_settings()):
            configure(**settings)
