from __future__ import annotations

from jobfleet.store.calls.flow import ParentState, parents
from tests.lua.world import World


def test_parents_come_in_their_order(world: World) -> None:
    said = {
        ":open": 1,
        ":when": "",
        ":guard": "0 completed\n",
        "mail.0.b": "?w 1",
        "mail.0.a": b"0 failed\nrecord\n\xff",
    }
    world.raw.hset(world.lane.parents("mail.0.k"), mapping=said)  # type: ignore[arg-type]  # bytes and texts

    assert world.again(parents(world.lane, "mail.0.k")) == [
        ParentState("mail.0.a", 0, "failed", b"record\n\xff", ""),
        ParentState("mail.0.b", 1, "", b"", "w"),
    ]


def test_a_job_that_waits_for_nobody(world: World) -> None:
    assert world.again(parents(world.lane, "mail.0.k")) == []
