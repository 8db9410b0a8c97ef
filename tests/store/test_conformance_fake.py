"""Every case of the scripts on fakeredis: what `memory://` answers is what a server answers, but for the list below."""

from __future__ import annotations

import itertools
from collections.abc import Iterator
from unittest.mock import patch

import pytest
import redis

from jobfleet.store import connect
from jobfleet.store.sync import Store
from jobfleet.store.target import target
from tests.lua.cases import Case, cases
from tests.lua.world import World

_numbers = itertools.count()

DIFFERENCES = {
    "test_a_lane_notes_which_primary_has_granted": "fakeredis has no replication, so INFO names no primary",
    "test_the_mark_is_written_each_time_and_goes_by_itself": "likewise",
    "test_a_script_that_reads_only_cannot_write": "fakeredis knows no flags; servers show that readers do not write",
}
"""Cases that go otherwise on fakeredis, and why that is no harm."""


@pytest.fixture
def world() -> Iterator[World]:
    """An empty lane on a fake server of its own."""
    with patch.dict(connect._memory):
        at = target(f"memory://conformance-{next(_numbers)}")
        store, raw = Store(at), connect._fake_client(at, redis.Redis)
        yield World(store, raw)
        store.close()
        raw.close()


@pytest.mark.parametrize("case", cases(), ids=lambda case: case.id)
def test_fakeredis_answers_as_a_server_does(case: Case, world: World, request: pytest.FixtureRequest) -> None:
    if reason := DIFFERENCES.get(case.body.__name__, case.flaw):
        request.applymarker(pytest.mark.xfail(reason=reason, strict=True))

    case.run(world)


def test_every_difference_names_a_case() -> None:
    assert set(DIFFERENCES) <= {case.body.__name__ for case in cases()}
