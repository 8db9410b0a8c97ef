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
LONG = {
    "test_sequences_never_overlap_or_reorder", "test_turns_go_on_from_claim_to_claim",
    "test_two_children_together_claim_every_job_once", "test_weights_share_as_one_two_and_four",
}  # fmt: skip
"""Cases of hundreds of calls, whose parameters change how many or in which order, and not which: one does here."""


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

    found = files()[file]
    firsts = {case.body: case for case in reversed(found)}
    chosen = [case for case in found if case.body.__name__ not in LONG or firsts[case.body] is case]
    see_each("case", chosen, look, show=lambda case: f"{case.body.__name__} {case.arguments}")


def test_every_exception_names_a_case() -> None:
    assert {*DIFFERENCES, *LONG} <= {case.body.__name__ for found in files().values() for case in found}
