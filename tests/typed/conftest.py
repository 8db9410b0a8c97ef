"""A fleet with functions of its own, whose worker runs in the test's process."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from jobfleet import Fleet
from jobfleet.functions.registry import Registry


@pytest.fixture
def fleet(redis_url: str, registry: Registry) -> Iterator[Fleet]:
    """A program that has the functions."""
    with Fleet(redis_url, registry=registry, retry_delay=0, patience=30) as fleet:
        yield fleet


@pytest.fixture
def stranger(redis_url: str) -> Iterator[Fleet]:
    """A program that knows names only."""
    with Fleet(redis_url, registry=Registry(), patience=30) as fleet:
        yield fleet
