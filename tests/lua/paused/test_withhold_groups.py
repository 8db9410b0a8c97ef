"""Jobs of groups whose function is paused: they free the slot, stand apart from their group, and come back to it."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from jobfleet.codec import Limits
from jobfleet.model import JobStatus
from jobfleet.operations.results import result_of
from jobfleet.store.call import Call
from jobfleet.store.calls.control import cancel, put_back, reschedule
from jobfleet.store.calls.enqueue import debounce, enqueue, marked, names, replace
from jobfleet.store.calls.flow import GUARD, Edge, ParentEnd, block, unblock
from jobfleet.store.calls.inspect import counts, explain, status
from jobfleet.store.calls.lease import claim, tick
from jobfleet.store.calls.settle import STILL_WAITING, expire, settle, withhold
from jobfleet.store.records import Entry, Holder
from tests.lua.world import World
from tests.support.groups import faults
from tests.support.seed import S

FAR = 5_500_000_000
GROUP_KEYS = ("grouped", "gdue", "ring", "held")
LINE = "mail.send ann@1"


def of_groups(world: World) -> dict[str, object]:
    """What the lane keeps of groups; its keys are sound."""
    assert faults(world.raw, world.lane) == []
    return {name: value for name, value in world.state().items() if name in GROUP_KEYS}


def setting_aside(world: World, *suffixes: str) -> Call[Any]:
    due = world.seed.at(-60)
    return settle(world.lane, [withhold(world.id(one), 7, due=due, function="mail.send") for one in suffixes])


def claiming(world: World, nonce: int = 1) -> Any:
    return world.run(claim(world.lane, child="w.1", nonce=nonce, lease_us=60 * S, limit=5))


def stands_in_its_group(world: World, when: str, *, band: int = 2) -> None:
    """See that job ``a`` stands in its band and its group, which is looked at then."""
    assert world.state()[f"ready:{band}"] == {"mail.0.a": f"grouped {when}"}
    found = of_groups(world)
    assert (found["grouped"], found["gdue"]) == ({f"{band}acme|{when}|mail.0.a": 0}, {f"{band}acme": when})


@pytest.mark.parametrize("band", [0, 1, 2, 3])
def test_it_frees_its_slot_and_stands_apart_from_its_group(world: World, band: int) -> None:
    world.seed.paused_functions(LINE)
    world.seed.running("a", band=band, group="acme")

    assert world.run(setting_aside(world, "a")).letters == "s"

    assert world.state() == world.moved(
        {
            "runs": None,
            "lease": None,
            "held": None,
            f"ready:{band}": {"mail.0.a": f"now+{FAR - 60}s"},
            "totals": {"withheld": "1"},
        }
    )
    assert of_groups(world) == {}


def test_the_next_of_a_full_group_takes_the_slot(world: World) -> None:
    world.seed.limit("1 - - - -", "acme")
    world.seed.paused_functions(LINE)
    world.seed.running("a", group="acme")
    world.seed.waiting("b", group="acme")
    world.seed.rests("acme")

    world.run(setting_aside(world, "a"))

    assert world.state()["wake"] == {"w": 0}
    claimed = claiming(world)
    assert ([grant.id for grant in claimed.grants], claimed.functions) == ([world.id("b")], {"mail.send"})
    assert of_groups(world)["held"] == {"acme|mail.0.b": 0}


def test_a_claim_of_a_limited_lane_with_aging_tells_what_is_paused(world: World) -> None:
    world.seed.limit("5 - - - -")
    world.raw.hset(world.lane.conf, "aging", str(60 * S))
    world.seed.paused_functions(LINE)
    world.seed.waiting("a", group="acme")

    call = claim(world.lane, child="w.1", nonce=1, lease_us=60 * S, limit=5)
    first, second = world.run(call), world.run(call)

    assert [grant.id for grant in first.grants] == [grant.id for grant in second.grants] == [world.id("a")]
    assert first.functions == second.functions == {"mail.send"}


def test_one_whose_function_goes_on_by_now_stands_in_its_group_again(world: World) -> None:
    world.seed.running("a", group="acme")

    assert world.run(setting_aside(world, "a")).letters == "s"

    stands_in_its_group(world, "now-60s")
    assert "held" not in world.state()


def test_it_comes_back_to_its_group_and_is_claimed(world: World) -> None:
    world.seed.withheld("a", due=-30, group="acme")
    waits = world.seed.waiting("b", group="acme")

    assert world.run(put_back(world.lane, [world.id("a"), waits])) == 1

    assert world.state() == world.moved(
        {
            "ready:2": {"mail.0.a": "grouped now-30s", "mail.0.b": "grouped now"},
            "grouped": {"2acme|now-30s|mail.0.a": 0, "2acme|now|mail.0.b": 0},
            "gdue": {"2acme": "now-30s"},
            "wake": {"w": 0},
        }
    )
    assert world.again(put_back(world.lane, [world.id("a"), waits])) == 0
    assert [grant.id for grant in claiming(world).grants] == [world.id("a"), waits]


def test_jobs_of_groups_that_are_not_withheld_stay_where_they_stand(world: World) -> None:
    ids = [world.seed.waiting("now", group="acme"), world.seed.waiting("later", due=30, group="acme")]

    assert world.refused(put_back(world.lane, ids)) == 0


def replaced(world: World) -> Call[Any]:
    world.seed.holds("k", world.seed.withheld("z", meta="u k", group="zeta"))
    made = Entry(world.id("a"), 2, str(world.seed.at(30)), "u k\ng acme", b"")
    return replace(world.lane, made, key="k", holder=world.id("z"), ttl_ms=1000)


def debounced(world: World) -> Call[Any]:
    world.seed.holds("k", world.seed.withheld("a", due=-60, meta="u k", group="zeta"))
    made = Entry(world.id("b"), 2, f"+{30 * S}", "u k\ng acme", b"")
    return debounce(world.lane, made, key="k", holder=world.id("a"), longest_us=None)


def rescheduled(world: World) -> Call[Any]:
    world.seed.withheld("a", band=1, group="acme")
    return reschedule(world.lane, [world.id("a")], by=None, when=str(world.seed.at(30)), band=2)


def delayed(world: World) -> Call[Any]:
    world.seed.withheld("a", group="acme")
    return reschedule(world.lane, [world.id("a")], by=None, when=f"+{30 * S}")


@pytest.mark.parametrize("way", [replaced, debounced, rescheduled, delayed])
def test_whatever_gives_it_a_due_time_puts_it_into_its_group(world: World, way: Callable[[World], Call[Any]]) -> None:
    world.run(way(world))

    stands_in_its_group(world, "now+30s")
    assert "ready:1" not in world.state()


def test_another_priority_leaves_it_withheld(world: World) -> None:
    world.seed.withheld("a", due=-60, group="acme")

    assert world.run(reschedule(world.lane, [world.id("a")], by=None, band=0)) == "s"

    assert world.state() == world.moved({"ready:2": None, "ready:0": {"mail.0.a": f"now+{FAR - 60}s"}})
    assert world.run(put_back(world.lane, [world.id("a")])) == 1
    stands_in_its_group(world, "now-60s", band=0)


def test_another_priority_leaves_a_blocked_one_blocked(world: World) -> None:
    made = Entry(world.id("a"), 2, "", "g acme", b"")
    world.run(block(world.lane, made, [Edge(world.id("p"), 0, "r")], ttl_ms=1000))

    assert world.run(reschedule(world.lane, [world.id("a")], by=None, band=0)) == "s"

    assert of_groups(world) == {}
    told = [ParentEnd(world.id("a"), parent, "completed", b"") for parent in (world.id("p"), GUARD)]
    world.run(unblock(world.lane, told, ttl_ms=1000))
    assert of_groups(world)["grouped"] == {"0acme|now|mail.0.a": 0}


def test_it_is_cancelled_and_expires_as_any_other(world: World) -> None:
    world.seed.withheld("a", group="acme")
    world.seed.withheld("b", group="acme")
    world.seed.waiting("c", group="acme")
    world.raw.zadd(world.lane.expiry, {world.id("b"): world.seed.at(-10)})

    assert world.run(cancel(world.keys, world.lane, [world.id("a")], by="ann", ttl_ms=1000)) == "c"
    assert world.run(tick(world.lane)).expired == (world.id("b"),)
    assert world.run(settle(world.lane, [expire(world.id("b"), 0, ttl_ms=1000, guard=STILL_WAITING)])).letters == "s"

    assert world.state()["ready:2"] == {"mail.0.c": "grouped now"}
    assert world.state()["meta"] == {"mail.0.c": "g acme"}
    assert of_groups(world)["grouped"] == {"2acme|now|mail.0.c": 0}


def test_it_is_queued_for_whoever_asks_and_counted_as_such(world: World) -> None:
    world.seed.paused_functions(LINE)
    world.seed.withheld("a", due=-60, group="acme")
    world.seed.waiting("b", due=60, group="acme")
    world.seed.waiting("c", due=-10, group="acme")

    counted = world.refused(counts(world.lane))
    now, (found,) = world.refused(status(world.lane, [world.id("a")]))

    assert (counted.due, counted.later) == ((0, 0, 2, 0), (0, 0, 1, 0))
    assert world.time(counted.oldest_due) == "now-10s"
    assert result_of(world.id("a"), found, now, limits=Limits()).status is JobStatus.QUEUED


def test_explain_tells_who_of_its_group_would_stand_before_it(world: World) -> None:
    world.seed.paused_functions(LINE)
    world.seed.withheld("a", due=-30, group="acme")
    for suffix, due in {"b": -60, "c": 0, "d": 60}.items():
        world.seed.waiting(suffix, due=due, group="acme")

    found = world.refused(explain(world.lane, world.id("a")))

    assert found.functions == LINE
    assert found.group is not None
    assert (found.group.name, found.group.ahead) == ("acme", 1)


def test_whoever_wants_its_unique_key_is_told_that_it_is_queued(world: World) -> None:
    world.seed.holds("k", world.seed.withheld("a", meta="u k", group="acme"))

    answer = world.run(enqueue(world.lane, [Entry(world.id("b"), 2, "", "u k\ng acme", b"")]))

    assert answer == [Holder(world.id("a"), "queued", has_started=False)]


def test_a_job_of_a_group_is_indexed_for_as_long_as_one_without(world: World) -> None:
    day = 86_400
    when = str(world.seed.at(30 * day))
    made = [
        Entry(world.id("a"), 2, when, marked("g acme", names({"tags": ["of-group"]})), b""),
        Entry(world.id("b"), 2, when, marked("", names({"tags": ["plain"]})), b""),
    ]

    assert [world.run(enqueue(world.lane, [one])) for one in made] == [[True], [True]]

    left = [world.raw.pttl(world.lane.index_of(f"tag:{name}")) for name in ("of-group", "plain")]
    assert abs(int(left[0]) - int(left[1])) < 10_000
    assert world.state()["meta"] == {"mail.0.a": "g acme"}
    assert of_groups(world)["grouped"] == {f"2acme|now+{30 * day}s|mail.0.a": 0}
