"""The application: it makes the default fleet from Django's setting `JOBFLEET`, a dictionary of its settings."""

from __future__ import annotations

from typing import Any

from django.apps import AppConfig
from django.conf import settings

from jobfleet.errors import ConfigError
from jobfleet.fleet.default import configure, default_fleet
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
            ConfigError: A setting is wrong.
        """
        if offered_settings() is None:
            settings = given_settings()
            fleet = configure(**settings) if settings else default_fleet()
            fleet.serve_requests()


DASHBOARD = "dashboard_url"
"""The one key that is not a setting of jobfleet: where the link in the admin leads."""


def _all_settings() -> dict[str, Any]:
    given = getattr(settings, "JOBFLEET", {})
    if not isinstance(given, dict):
        raise ConfigError(f"JOBFLEET is {given!r:.100}; give a dictionary such as {{'URL': 'redis://…'}}.")
    return {str(key).lower(): value for key, value in given.items()}


def given_settings() -> dict[str, Any]:
    """The settings of jobfleet that the project gives, by their names.

    Raises:
        ConfigError: `JOBFLEET` is not a dictionary.
    """
    return {name: value for name, value in _all_settings().items() if name != DASHBOARD}


def dashboard_url() -> str:
    """Where the dashboard is; empty if the project does not say so.

    Raises:
        ConfigError: `JOBFLEET` is not a dictionary.
    """
    return str(_all_settings().get(DASHBOARD) or "")
