"""A default fleet for pages, with jobs to look at."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from jobfleet import Fleet
from jobfleet.fleet import default
from jobfleet.functions.registry import Registry


@pytest.fixture
def fleet(redis_url: str, registry: Registry) -> Iterator[Fleet]:
    """The default fleet, on an empty server."""
    with Fleet(redis_url, registry=registry, lease=6) as fleet:
        before = default.set_default_fleet(fleet)
        yield fleet
        default.set_default_fleet(before)
