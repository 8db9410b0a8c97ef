"""Fixtures for the rows of the user's list: a real server, real workers, and the default fleet upon them."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from jobfleet import Fleet
from jobfleet.fleet import default

HERE = Path(__file__).parent


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Let these tests enqueue what no worker has published yet."""
    for item in items:
        if item.path.is_relative_to(HERE):
            item.add_marker(pytest.mark.filterwarnings("ignore:No worker has published:UserWarning"))


@pytest.fixture
def fleet(redis_url: str) -> Iterator[Fleet]:
    """The default fleet, on the same server."""
    with Fleet(redis_url) as fleet:
        before = default.set_default_fleet(fleet)
        yield fleet
        default.set_default_fleet(before)
