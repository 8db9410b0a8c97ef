"""The setting `JOBFLEET` of a Django project: a dictionary of the settings of jobfleet, in upper case."""

from __future__ import annotations

from typing import Any

from django.conf import settings

from jobfleet.errors import ConfigError

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
