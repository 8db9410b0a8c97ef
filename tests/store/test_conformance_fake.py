"""Every case of the scripts on fakeredis: what `memory://` answers is what a server answers, but for the list below."""

from __future__ import annotations

import itertools
from collections.abc import Iterator
from contextlib import closing, contextmanager, nullcontext
from unittest.mock import patch

import pytest
import redis

from jobfleet.store import connect
from jobfleet.store.sync import Store
from jobfleet.store.target import target
from tests.lua.cases import Case, files
from tests.lua.world import World
from tests.support.each import see_each

_numbers = itertools.count()

DIFFERENCES = {
    "test_a_lane_notes_which_primary_has_granted": "fakeredis has no replication, so INFO names no primary",
    "test_the_mark_is_written_each_time_and_goes_by_itself": "likewise",
    "test_a_script_that_reads_only_cannot_write": "fakeredis knows no flags; servers show that readers do not write",
}
"""Cases that go otherwise on fakeredis, and why that is no harm."""


@contextmanager
def fake_world() -> Iterator[World]:
    """An empty lane on a fake server of its own."""
    at = target(f"memory://conformance-{next(_numbers)}")
    with (
        patch.dict(connect._memory),
        closing(Store(at)) as store,
        closing(connect._fake_client(at, redis.Redis)) as raw,
    ):
        yield World(store, raw)


@pytest.mark.parametrize("file", files())
def test_fakeredis_answers_as_a_server_does(file: str) -> None:
    def look(case: Case) -> None:
        expected = case.body.__name__ in DIFFERENCES or bool(case.flaw)
        with fake_world() as world, pytest.raises(BaseException) if expected else nullcontext():
            case.run(world)

    see_each("case", files()[file], look, show=lambda case: f"{case.body.__name__} {case.arguments}")


def test_every_difference_names_a_case() -> None:
    assert set(DIFFERENCES) <= {case.body.__name__ for found in files().values() for case in found}
