from __future__ import annotations

from typing import Any

from jobfleet.store.calls.enqueue import enqueue
from jobfleet.store.calls.journal import register
from jobfleet.store.records import Entry
from tests.lua.world import World


def groups(world: World) -> dict[str, str]:
    """The groups of the journal, each with the number of the last event it has read."""
    rows: Any = world.raw.xinfo_groups(world.lane.journal)
    return {row["name"].decode(): row["last-delivered-id"].decode().partition("-")[0] for row in rows}


def enqueued(world: World, suffix: str) -> None:
    world.run(enqueue(world.lane, [Entry(world.id(suffix), 2, "", "", b"envelope")]))


def test_the_journal_is_written_from_the_registration_on_numbered_from_the_time(world: World) -> None:
    enqueued(world, "a")

    assert world.run(register(world.lane, "archive", most=1000)) is True

    assert world.state() == world.moved(
        {
            "conf": {"journal": "1000"},
            "journal": [],
            "totals": {"enqueued": "1", "journal": "now", "journal_low": "now"},
        }
    )
    assert world.again(register(world.lane, "archive", most=1000)) is False
    enqueued(world, "b")
    assert world.state()["journal"] == [{"at": "now", "1": "enqueued mail.0.b 0 2 now", "1e": "envelope"}]


def test_a_second_group_reads_what_happens_from_now_on(world: World) -> None:
    world.run(register(world.lane, "archive", most=1000))
    enqueued(world, "a")
    last: Any = world.raw.hget(world.lane.totals, "journal")

    assert world.run(register(world.lane, "notify", most=500)) is True

    assert world.state()["conf"] == {"journal": "500"}
    assert groups(world) == {"archive": "0", "notify": last.decode()}


def test_numbers_never_go_back(world: World) -> None:
    ahead = world.seed.at(1000)
    world.raw.hset(world.lane.totals, "journal", ahead)

    world.run(register(world.lane, "archive", most=1000))

    assert world.state()["totals"] == {"journal": "now+1000s", "journal_low": "now+1000s"}
