"""A fleet whose worker a hand plays, for applications of several frameworks."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from jobfleet import Fleet
from jobfleet.functions.registry import Registry
from tests.cli.hand import Hand


@pytest.fixture
def fleet(redis_url: str) -> Iterator[Fleet]:
    with Fleet(redis_url, registry=Registry(), patience=0.2) as fleet:
        yield fleet


@pytest.fixture
def hand(fleet: Fleet) -> Hand:
    """Plays the worker `w1`."""
    hand = Hand(fleet)
    hand.knows("demo.add")
    return hand
