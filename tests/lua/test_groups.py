"""Jobs of groups come into a lane and leave it by every way, and nothing of them stays."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from jobfleet.store.call import Call
from jobfleet.store.calls import control, cron, enqueue, flow, inspect, lease, settle
from jobfleet.store.records import Entry, InWait
from tests.lua.world import KEYS, World
from tests.support.seed import S

GROUP_KEYS = ("grouped", "gdue", "ring", "held")
STANDS = {"2acme|now+30s|mail.0.a": 0}


def of_groups(world: World) -> dict[str, object]:
    """What the lane keeps of groups."""
    return {name: value for name, value in world.state().items() if name in GROUP_KEYS}


def entry(world: World, suffix: str, *, band: int = 2, when: str = "", meta: str = "g acme") -> Entry:
    return Entry(world.id(suffix), band, when, meta, b"envelope")


def test_an_enqueued_job_stands_below_its_band_and_in_its_group(world: World) -> None:
    call = enqueue.enqueue(world.lane, [entry(world, "a", when=str(world.seed.at(30)))])

    assert world.run(call) == [True]

    assert world.state() == {
        "gdue": {"2acme": "now+30s"},
        "grouped": STANDS,
        "job:mail.0.a": "envelope",
        "meta": {"mail.0.a": "g acme"},
        "ready:2": {"mail.0.a": "grouped now+30s"},
        "totals": {"enqueued": "1"},
    }
    assert world.again(call) == [False]


@pytest.mark.parametrize("count", [7, 8, 50])
def test_however_many_come_and_start_at_once_nothing_else_stands_beside_them(world: World, count: int) -> None:
    names = [f"{number:02}" for number in range(count)]

    world.run(enqueue.enqueue(world.lane, [entry(world, name, meta=f"g t{name}") for name in names]))
    assert world.state()["meta"] == {f"mail.0.{name}": f"g t{name}" for name in names}

    world.run(lease.claim(world.lane, child="w.1", nonce=1, lease_us=60 * S, limit=count - 1))
    later = world.run(lease.claim(world.lane, child="w.1", nonce=2, lease_us=60 * S, limit=50))

    assert len(later.grants) == 1
    assert of_groups(world) == {"held": {f"t{name}|mail.0.{name}": 0 for name in names}}
    assert set(world.state()["lease"]) == {f"mail.0.{name}" for name in names}


def test_several_groups_and_plain_jobs_go_in_one_call(world: World) -> None:
    made = [entry(world, "a"), entry(world, "b", meta=""), entry(world, "c", meta="g zeta"), entry(world, "d", band=0)]

    assert world.run(enqueue.enqueue(world.lane, made)) == [True] * 4

    assert of_groups(world) == {
        "gdue": {"0acme": "now", "2acme": "now", "2zeta": "now"},
        "grouped": {"0acme|now|mail.0.d": 0, "2acme|now|mail.0.a": 0, "2zeta|now|mail.0.c": 0},
    }
    assert world.state()["ready:2"] == {"mail.0.a": "grouped now", "mail.0.b": "now", "mail.0.c": "grouped now"}
    assert world.state()["wake"] == {"w": 0}


def test_the_earliest_of_a_group_says_when_its_turn_is_looked_at(world: World) -> None:
    times = {"a": 60, "b": 30, "c": 90}
    made = [entry(world, suffix, when=str(world.seed.at(due))) for suffix, due in times.items()]

    world.run(enqueue.enqueue(world.lane, made[:2]))
    world.run(enqueue.enqueue(world.lane, made[2:]))

    assert of_groups(world)["gdue"] == {"2acme": "now+30s"}


def fire(world: World) -> Call[Any]:
    return cron.fire(
        world.lane, "nightly", world.seed.at(30), entry(world, "a", when=str(world.seed.at(30))), overlap="allow"
    )


def replaced(world: World) -> Call[Any]:
    world.seed.holds("k", world.seed.waiting("z", meta="u k", due=60, group="zeta"))
    made = entry(world, "a", when=str(world.seed.at(30)), meta="u k\ng acme")
    return enqueue.replace(world.lane, made, key="k", holder=world.id("z"), ttl_ms=1000)


def debounced(world: World) -> Call[Any]:
    world.seed.holds("k", world.seed.waiting("a", meta="u k", due=0, group="zeta"))
    made = entry(world, "b", when=str(world.seed.at(30)), meta="u k\ng acme")
    return enqueue.debounce(world.lane, made, key="k", holder=world.id("a"), longest_us=60 * S)


def unblocked(world: World) -> Call[Any]:
    block = flow.block(world.lane, entry(world, "a", when=str(world.seed.at(30))), [], ttl_ms=1000)
    world.run(block)
    assert of_groups(world) == {}
    return flow.unblock(world.lane, [flow.ParentEnd(world.id("a"), flow.GUARD, "completed", b"")], ttl_ms=1000)


def retried(world: World) -> Call[Any]:
    world.seed.running("a", group="acme")
    return settle.settle(world.lane, [settle.retry(world.id("a"), 7, delay_us=30 * S, tries="1:0:0:0:0")])


def rescheduled(world: World) -> Call[Any]:
    world.seed.waiting("a", due=60, band=1, group="acme")
    return control.reschedule(world.lane, [world.id("a")], by=None, when=str(world.seed.at(30)), band=2)


@pytest.mark.parametrize("way", [fire, replaced, debounced, unblocked, retried, rescheduled])
def test_whatever_puts_a_job_into_its_band_puts_it_into_its_group(
    world: World, way: Callable[[World], Call[Any]]
) -> None:
    world.run(way(world))

    assert of_groups(world) == {"gdue": {"2acme": "now+30s"}, "grouped": STANDS}
    assert world.state()["ready:2"] == {"mail.0.a": "grouped now+30s"}
    assert "ready:1" not in world.state()


def test_a_replayed_job_stands_in_its_group_again(world: World) -> None:
    world.seed.dead("a", meta="g acme")
    call = control.replay(world.lane, [world.id("a")], by="ann")

    assert world.run(call) == ["replayed"]

    assert of_groups(world) == {"gdue": {"2acme": "now"}, "grouped": {"2acme|now|mail.0.a": 0}}
    assert world.again(call) == ["already"]


def cancelled(world: World) -> Call[Any]:
    return control.cancel(KEYS, world.lane, [world.id("a")], by=None, ttl_ms=1000)


def expired(world: World) -> Call[Any]:
    world.raw.zadd(world.lane.expiry, {world.id("a"): world.seed.at(-10)})
    return settle.settle(world.lane, [settle.expire(world.id("a"), 0, ttl_ms=1000, guard=settle.STILL_WAITING)])


@pytest.mark.parametrize("way", [cancelled, expired])
@pytest.mark.parametrize("place", ["due", "turns", "rests"])
def test_the_last_waiting_job_of_a_group_takes_its_place_with_it(
    world: World, way: Callable[[World], Call[Any]], place: str
) -> None:
    world.seed.waiting("a", group="acme")
    if place != "due":
        getattr(world.seed, place)("acme", time=3000)

    world.run(way(world))

    assert of_groups(world) == {}
    assert "ready:2" not in world.state()


@pytest.mark.parametrize("way", [cancelled, expired])
def test_others_of_its_group_stay(world: World, way: Callable[[World], Call[Any]]) -> None:
    world.seed.waiting("a", group="acme")
    world.seed.waiting("b", due=30, group="acme")
    world.seed.turns("acme", time=3000)

    world.run(way(world))

    assert of_groups(world) == {"grouped": {"2acme|now+30s|mail.0.b": 0}, "ring": {"2acme": 2_000_000_000_003_000}}


ENDS: dict[str, settle.Item] = {
    "complete": settle.complete("mail.0.a", 7, record=b"", ttl_ms=1000, duration_us=5),
    "fail": settle.fail("mail.0.a", 7, record=b"", ttl_ms=1000, duration_us=5, reason="error", tries=""),
    "retry": settle.retry("mail.0.a", 7, delay_us=30 * S, tries="1:0:0:0:0"),
    "release": settle.release("mail.0.a", 7),
    "park": settle.park("mail.0.a", 7, delay_us=30 * S, tries="0:0:0:1:0"),
    "expire": settle.expire("mail.0.a", 7, ttl_ms=1000),
    "move": settle.move("mail.0.a", 7, to="other.0.a", ttl_ms=1000),
    "reap": settle.retry("mail.0.a", 7, delay_us=0, tries="0:1:0:0:0", guard=settle.STILL_EXPIRED),
}


@pytest.mark.parametrize("verb", sorted(ENDS))
@pytest.mark.parametrize("cancel", ["", "ann"])
def test_every_end_of_a_run_frees_its_slot_once_and_has_its_group_looked_at(
    world: World, verb: str, cancel: str
) -> None:
    world.seed.limit("2 - - - -", "acme")
    world.seed.running("a", group="acme", deadline=-10, cancel=cancel)
    world.seed.running("b", token=8, group="acme")
    world.seed.waiting("c", group="acme")
    world.seed.rests("acme", time=2000)
    world.seed.ticked()
    call = settle.settle(world.lane, [ENDS[verb]])

    assert world.run(call).letters == ("c" if cancel and verb != "complete" else "s")

    assert world.state()["held"] == {"acme|mail.0.b": 0}
    assert world.state()["gdue"]["2acme"] <= "now"
    assert world.state()["wake"] == {"w": 0}
    world.raw.zrem(world.lane.gdue, "2acme")
    kept = of_groups(world)
    assert world.run(call).letters in "dl"
    assert of_groups(world) == kept


def test_without_limits_nobody_is_woken_by_an_end(world: World) -> None:
    world.seed.running("a", group="acme")
    world.seed.waiting("b", due=30, group="acme")

    world.run(settle.settle(world.lane, [ENDS["complete"]]))

    assert of_groups(world) == {"gdue": {"2acme": "now+30s"}, "grouped": {"2acme|now+30s|mail.0.b": 0}}
    assert "wake" not in world.state()


def test_a_slot_that_is_free_in_a_queue_with_a_limit_wakes_somebody(world: World) -> None:
    world.seed.limit("1 - - - -")
    world.seed.running("a")

    world.run(settle.settle(world.lane, [ENDS["complete"]]))

    assert world.state()["wake"] == {"w": 0}


def test_readers_tell_its_due_time(world: World) -> None:
    world.seed.waiting("a", due=30, group="acme")
    world.seed.waiting("b", due=-10, group="acme")

    found = [world.run(inspect.status(world.lane, [world.id(suffix)]))[1][0] for suffix in "ab"]
    counts = world.run(inspect.counts(world.lane))
    _, rows = world.run(inspect.waiting(world.lane, 6))
    _, due = world.run(inspect.waiting(world.lane, 6, stop=str(world.now)))
    _, ahead = world.run(inspect.waiting(world.lane, 6, start=f"({world.now}"))

    assert [one.due for one in found if isinstance(one, InWait)] == [world.seed.at(30), world.seed.at(-10)]
    assert (counts.due[2], counts.later[2], counts.oldest_due) == (1, 1, world.seed.at(-10))
    assert [(row.id, row.due) for row in rows] == [
        (world.id("b"), world.seed.at(-10)),
        (world.id("a"), world.seed.at(30)),
    ]
    assert [row.id for row in due] == [world.id("b")]
    assert [row.id for row in ahead] == [world.id("a")]
    assert world.run(inspect.waiting(world.lane, 2))[1] == []


def test_the_holder_of_a_unique_key_is_found_in_its_group(world: World) -> None:
    world.seed.holds("k", world.seed.waiting("a", meta="u k", due=30, group="acme"))

    answer = world.run(enqueue.enqueue(world.lane, [entry(world, "b", meta="u k\ng acme")]))

    assert [getattr(one, "status", one) for one in answer] == ["scheduled"]


def test_its_priority_changes_and_its_due_time_stays(world: World) -> None:
    world.seed.waiting("a", due=30, group="acme")

    assert world.run(control.reschedule(world.lane, [world.id("a")], by=None, band=0)) == "s"

    assert of_groups(world) == {"gdue": {"0acme": "now+30s"}, "grouped": {"0acme|now+30s|mail.0.a": 0}}
    assert world.state()["ready:0"] == {"mail.0.a": "grouped now+30s"}


def test_a_job_that_is_debounced_out_of_its_group_leaves_nothing_there(world: World) -> None:
    world.seed.holds("k", world.seed.waiting("a", meta="u k", group="acme"))
    made = entry(world, "b", when=str(world.seed.at(30)), meta="u k")

    world.run(enqueue.debounce(world.lane, made, key="k", holder=world.id("a"), longest_us=60 * S))

    assert of_groups(world) == {}
    assert world.state()["ready:2"] == {"mail.0.a": "now+30s"}
