from __future__ import annotations

from jobfleet.store.calls.lease import claim, granted
from tests.lua.world import World
from tests.support.seed import S


def test_what_a_claim_has_brought_is_read_from_its_runs(world: World) -> None:
    world.seed.running("old", token=5)
    world.seed.running("other", token=9, child="w.2")
    first = world.seed.waiting("a", tries="1:0:0:0:0", due=-10)
    second = world.seed.waiting("b", meta="r 5000", due=-10)
    claimed = world.run(claim(world.lane, child="w.1", nonce=1, lease_us=60 * S, limit=5))
    tokens = {grant.id: grant.token for grant in claimed.grants}

    answer = world.run(granted(world.lane, child="w.1", first=min(tokens.values())))

    assert (
        {grant.id: grant.token for grant in answer.grants} == tokens == {first: tokens[first], second: tokens[second]}
    )
    assert {(grant.id, grant.envelope, grant.tries, grant.meta) for grant in answer.grants} == {
        (first, b"envelope of a", "1:0:0:0:0", ""), (second, b"envelope of b", "", "r 5000"),
    }  # fmt: skip
    assert answer.unreadable == ()
    assert world.state() == world.before


def test_rows_that_cannot_be_read_are_named_by_their_tokens(world: World) -> None:
    world.raw.hset(world.lane.runs, b"a \xff", b"7|w.1|1|1|2|")

    answer = world.run(granted(world.lane, child="w.1", first=7))

    assert answer.grants == ()
    assert [(row.id, row.seen, row.is_run) for row in answer.unreadable] == [(b"a \xff", b"7", False)]
