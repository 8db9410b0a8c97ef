from __future__ import annotations

from jobfleet.store.calls.run import Holder, end_wait, note_wait
from tests.lua.world import World
from tests.support.seed import S

A = Holder(7, 1, "mail.0.a")


def test_a_note_has_the_lock_and_ends_by_itself(world: World) -> None:
    world.run(note_wait(world.keys, "crm", A, 2, waited_us=S))

    key = world.keys.lock_wait(A.job_id)
    value: bytes = world.raw.get(key)  # type: ignore[assignment]
    holder, _, limit, name = value.split(b"\n")
    assert (holder, limit, name) == (b"7 1 mail.0.a", b"2", b"crm")
    assert 0 < world.raw.pttl(key) <= 6000


def test_a_note_is_deleted_by_the_wait_that_wrote_it_only(world: World) -> None:
    world.run(note_wait(world.keys, "crm", A, 1, waited_us=S))

    world.refused(end_wait(world.keys, A._replace(number=2)))
    world.run(end_wait(world.keys, A))

    assert world.state() == {}
