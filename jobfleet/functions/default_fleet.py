"""The default fleet as job functions see it: who provides it, and the settings that a worker offers for it.

`jobfleet.fleet` provides it when it is imported; the package root arranges for that when it hands out ``job``.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from jobfleet.config import JobConfig
from jobfleet.errors import ConfigError

_provider: Callable[[], Any] | None = None
_offered: JobConfig | None = None


def provide_default_fleet(provider: Callable[[], Any]) -> None:
    """Set what answers the default fleet.

    Args:
        provider: Called at each use; returns the `Fleet`.
    """
    global _provider  # noqa: PLW0603 - the one default of the process
    _provider = provider


def has_default_fleet() -> bool:
    """Whether anything provides a default fleet in this process."""
    return _provider is not None


def default_fleet() -> Any:
    """The default fleet.

    Raises:
        ConfigError: Nothing provides one.
    """
    if _provider is None:
        raise ConfigError("There is no default fleet: call jobfleet.configure(url), or use fleet.job(...).")
    return _provider()


def offer_settings(config: JobConfig) -> None:
    """Say with which settings the default fleet is made if nobody chooses: a worker's jobs use the worker's Redis.

    Args:
        config: The worker's settings.
    """
    global _offered  # noqa: PLW0603 - as the default fleet itself
    _offered = config


def offered_settings() -> JobConfig | None:
    """The settings that were offered last; None where no worker has offered any."""
    return _offered
