from __future__ import annotations

from jobfleet.store.calls.run import Awaited, Holder, acquire, awaited, note_wait
from tests.lua.world import World
from tests.support.seed import S
from tests.support.state import server_now

A, B = Holder(7, 1, "mail.0.a"), Holder(9, 1, "mail.0.b")


def test_a_job_that_waits_is_answered_with_those_that_hold_the_lock(world: World) -> None:
    world.run(acquire(world.keys, "crm", A, 1))
    world.run(note_wait(world.keys, "crm", B, 1, waited_us=3 * S))

    found = world.refused(awaited(world.keys, B.job_id))

    assert found is not None
    assert found._replace(since=0) == Awaited(9, 0, 1, "crm", (A.job_id,))
    assert 3 * S <= server_now(world.raw) - found.since <= 60 * S
    assert 0 < world.raw.pttl(world.keys.lock_wait(B.job_id)) <= 6000


def test_a_job_without_a_note_and_one_that_has_the_lock_by_now_wait_for_none(world: World) -> None:
    world.run(note_wait(world.keys, "crm", A, 1, waited_us=S))
    world.run(acquire(world.keys, "crm", A, 1))

    assert world.refused(awaited(world.keys, A.job_id)) is None
    assert world.refused(awaited(world.keys, B.job_id)) is None
