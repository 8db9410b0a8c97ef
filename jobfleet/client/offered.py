"""The settings of the process's worker, for the default fleet; apart, for a fleet is a big import."""

from __future__ import annotations

from jobfleet.config import JobConfig

_offered: JobConfig | None = None


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
