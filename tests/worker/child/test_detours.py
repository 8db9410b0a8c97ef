"""How many jobs go first to a child that does not know their function; `scripts/detours` prints the table."""

from __future__ import annotations

import pytest

from tests.support.detours import SLOTS, Heard, Trial, at_share
from tests.support.server import RedisServer

JOBS = 200


@pytest.mark.parametrize("blind", [1, 40])
@pytest.mark.parametrize("heard", ["before", "now"])
async def test_jobs_go_straight_to_the_child_that_knows_their_function(blind: int, heard: Heard) -> None:
    with RedisServer() as server:
        found = await Trial(server.url, blind, seed=blind).run(JOBS, heard=heard, pause=0.001)

    assert len(found.detours) > JOBS / 4
    assert at_share(found.detours, 0.99) <= (0 if heard == "before" else 2)


async def test_a_child_that_has_heard_of_nothing_finds_out_with_its_first_claim() -> None:
    blind = 10
    with RedisServer() as server:
        found = await Trial(server.url, blind, seed=blind).run(JOBS, heard="never", pause=0.001)

    assert sum(found.detours) <= blind * SLOTS
