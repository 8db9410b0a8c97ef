from __future__ import annotations

from jobfleet.store.calls.enqueue import open_queue
from jobfleet.store.calls.inspect import fleet
from jobfleet.store.calls.presence import beat
from jobfleet.store.records import WorkerSeen
from tests.lua.world import World
from tests.support.seed import S


def test_an_empty_fleet_is_seen(world: World) -> None:
    seen = world.refused(fleet(world.keys))

    assert (seen.queues, seen.workers, seen.functions, seen.count) == ({}, (), {}, 0)


def test_queues_workers_and_functions_are_seen_newest_beat_first(world: World) -> None:
    world.run(open_queue(world.keys, "mail", 2))
    world.run(beat(world.keys, "w2", account=b"\x00busy", gone_us=20 * S, functions={"f": b"\xffone"}))
    world.raw.zadd(world.keys.workers, {"w1": world.seed.at(-10)})

    seen = world.refused(fleet(world.keys))

    assert (seen.queues, seen.functions) == ({"mail": (2, 2)}, {"f": b"\xffone"})
    assert [(worker.id, worker.account) for worker in seen.workers] == [("w2", b"\x00busy"), ("w1", b"")]
    assert seen.workers[1] == WorkerSeen("w1", world.seed.at(-10), b"")


def test_queues_are_counted_and_not_listed_where_they_are_too_many(world: World) -> None:
    world.raw.hset(world.keys.queues, mapping={f"q{number}": "1:2" for number in range(4)})

    few, many = world.refused(fleet(world.keys, most=4)), world.refused(fleet(world.keys, most=3))

    assert (few.count, few.queues) == (4, {f"q{number}": (1, 2) for number in range(4)})
    assert (many.count, many.queues) == (4, {})
