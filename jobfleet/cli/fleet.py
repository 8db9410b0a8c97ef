"""A fleet of settings that are loaded already."""

from __future__ import annotations

from typing import Any

from jobfleet.client.base import Opened
from jobfleet.client.sync import Fleet
from jobfleet.config import JobConfig


class _Configured(Fleet):
    """A fleet that reads no settings of its own."""

    def __init__(self, config: JobConfig) -> None:
        Opened.__init__(self, config, None)
        self._async_fleets: Any = None


def fleet_of(config: JobConfig) -> Fleet:
    """Open a fleet with these very settings."""
    return _Configured(config)
