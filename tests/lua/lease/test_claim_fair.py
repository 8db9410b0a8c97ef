"""Groups take turns in a claim, by weight, under limits; plain jobs are one group beside the others."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from itertools import pairwise

import pytest

from jobfleet.store.calls.enqueue import enqueue
from jobfleet.store.calls.lease import claim, tick
from jobfleet.store.calls.settle import complete, settle
from jobfleet.store.records import Claimed, Entry, Grant
from tests.lua.world import World
from tests.support.seed import S


def claiming(world: World, nonce: int = 1, limit: int = 50, child: str = "w.1") -> Claimed:
    return world.run(claim(world.lane, child=child, nonce=nonce, lease_us=60 * S, limit=limit))


def fill(world: World, group: str, count: int, *, band: int = 2, due: int = -10) -> None:
    """So many jobs of a group, or with an empty name of none."""
    meta = f"g {group}" if group else ""
    names = [f"{group or 'plain'}{band}{n:04}" for n in range(count)]
    for at in range(0, count, 50):
        when = str(world.seed.at(due)) if due > 0 else ""
        made = [Entry(world.id(name), band, when, meta, b"e") for name in names[at : at + 50]]
        world.go(enqueue(world.lane, made))


def group_of(grant: Grant) -> str:
    return grant.meta.removeprefix("g ")


def order(claimed: Claimed) -> list[str]:
    return [group_of(grant) for grant in claimed.grants]


def finish(world: World, grants: Sequence[Grant]) -> None:
    items = [complete(grant.id, grant.token, record=b"", ttl_ms=1000, duration_us=5) for grant in grants]
    world.go(settle(world.lane, items))


def drain(world: World, limit: int, count: int = 10_000) -> list[str]:
    """Claim and finish until nothing comes, or so many have; whose job each was."""
    seen: list[str] = []
    for nonce in range(1, 10_000):
        claimed = world.go(claim(world.lane, child="w.1", nonce=nonce, lease_us=60 * S, limit=limit))
        if not claimed.grants or len(seen) >= count:
            return seen
        seen += order(claimed)
        finish(world, claimed.grants)
    return seen


def test_groups_take_turns_and_each_is_served_in_order(world: World) -> None:
    fill(world, "a", 5)
    fill(world, "b", 2)
    fill(world, "", 2)

    claimed = claiming(world)

    assert order(claimed) == ["a", "b", "", "a", "b", "", "a", "a", "a"]
    ids = [grant.id for grant in claimed.grants if group_of(grant) == "a"]
    assert ids == sorted(ids)
    state = world.state()
    assert not {"grouped", "gdue", "ring"} & set(state)
    assert state["held"] == {f"{group_of(grant)}|{grant.id}": 0 for grant in claimed.grants if group_of(grant)}


@pytest.mark.parametrize("limit", [1, 3, 50])
def test_turns_go_on_from_claim_to_claim(world: World, limit: int) -> None:
    for group in "abc":
        fill(world, group, 40)
    fill(world, "", 40)

    seen = drain(world, limit)

    assert Counter(seen) == {"a": 40, "b": 40, "c": 40, "": 40}
    for end in range(4, 160, 4):
        assert max(Counter(seen[:end]).values()) - min(Counter(seen[:end])[name] for name in ("a", "b", "c", "")) <= 1


@pytest.mark.parametrize("limit", [1, 7, 50])
def test_weights_share_as_one_two_and_four(world: World, limit: int) -> None:
    for group, weight in (("a", 1), ("b", 2), ("c", 4)):
        world.seed.limit(f"- - - {weight} -", group)
        fill(world, group, 400)

    seen = Counter(drain(world, limit, 350)[:350])

    assert seen == pytest.approx({"a": 50, "b": 100, "c": 200}, abs=4)


def test_the_default_weight_of_all_groups_is_beaten_by_ones_own(world: World) -> None:
    world.seed.limit("- - - 2 -", "*")
    world.seed.limit("- - - 1 -", "a")
    fill(world, "a", 100)
    fill(world, "b", 100)

    assert Counter(drain(world, 10, 90)[:90]) == pytest.approx({"a": 30, "b": 60}, abs=2)


def test_who_comes_later_neither_waits_for_the_others_past_nor_is_owed_anything(world: World) -> None:
    fill(world, "a", 100)
    assert drain(world, 10, 50).count("a") >= 50
    fill(world, "b", 40)

    assert order(claiming(world, nonce=100, limit=10)).count("b") in (5, 6)


def test_a_tenant_with_many_jobs_does_not_keep_others_waiting(world: World) -> None:
    fill(world, "huge", 1000)
    for n in range(20):
        fill(world, f"small{n}", 5)

    seen = drain(world, 20)

    last = max(place for place, group in enumerate(seen) if group != "huge")
    assert last < 120


def test_new_groups_without_an_end_do_not_keep_an_old_one_waiting_for_ever(world: World) -> None:
    for n in range(10):
        fill(world, f"new{n}", 1)
    fill(world, "old", 5)

    seen = []
    for nonce in range(1, 120):
        seen += order(world.go(claim(world.lane, child="w.1", nonce=nonce, lease_us=60 * S, limit=1)))
        fill(world, f"new{nonce + 10}", 1)

    places = [place for place, group in enumerate(seen) if group == "old"]
    assert len(places) == 5
    assert max(second - first for first, second in pairwise(places)) <= 24


def test_a_higher_band_goes_first_whatever_the_group(world: World) -> None:
    fill(world, "a", 3, band=3)
    fill(world, "b", 3, band=1)
    fill(world, "", 2, band=2)

    assert order(claiming(world, limit=7)) == ["b", "b", "b", "", "", "a", "a"]
    assert world.state()["ring"] == {"3a": 3_000_000_000_002_000}


def test_what_is_left_for_another_wakes_it_and_what_is_not_does_not(world: World) -> None:
    fill(world, "a", 3)

    claiming(world, limit=2)
    assert world.state()["wake"] == {"w": 0}
    world.raw.delete(world.lane.wake)
    claiming(world, nonce=2, limit=2)
    assert "wake" not in world.state()


def test_a_group_that_is_due_later_is_told_and_comes_then(world: World) -> None:
    fill(world, "a", 1)
    fill(world, "b", 1, due=30)

    claimed = claiming(world)

    assert order(claimed) == ["a"]
    assert world.time(claimed.next_due) == "now+30s"
    assert world.state()["gdue"] == {"2b": "now+30s"}
    assert claiming(world, nonce=2).word == "empty"


def test_a_later_job_of_a_group_is_looked_at_when_it_is_due(world: World) -> None:
    world.seed.waiting("a", group="acme")
    world.seed.waiting("b", group="acme", due=30)

    claimed = claiming(world)

    assert [grant.id for grant in claimed.grants] == [world.id("a")]
    assert world.time(claimed.next_due) == "now+30s"
    assert world.state()["gdue"] == {"2acme": "now+30s"}


def test_no_more_run_of_a_group_than_it_may_and_an_end_lets_the_next_in(world: World) -> None:
    world.seed.limit("2 - - - -", "a")
    fill(world, "a", 5)
    fill(world, "b", 5)

    world.raw.delete(world.lane.wake)

    first = claiming(world)
    assert Counter(order(first)) == {"a": 2, "b": 5}
    assert claiming(world, nonce=2).word == "empty"
    assert "wake" not in world.state()
    finish(world, [grant for grant in first.grants if group_of(grant) == "a"][:1])
    assert world.state()["wake"] == {"w": 0}
    assert order(claiming(world, nonce=3)) == ["a"]
    assert order(claiming(world, nonce=4)) == []


def test_the_default_holds_for_groups_without_a_limit_and_none_lifts_it(world: World) -> None:
    world.seed.limit("1 - - - -", "*")
    world.seed.limit("0 - - - -", "free")
    world.seed.limit("- - - 3 -", "heavy")
    for group in ("x", "y", "free", "heavy"):
        fill(world, group, 4)

    assert Counter(order(claiming(world))) == {"x": 1, "y": 1, "free": 4, "heavy": 1}


def test_the_cap_counts_over_the_bands(world: World) -> None:
    world.seed.limit("2 - - - -", "a")
    fill(world, "a", 2, band=1)
    fill(world, "a", 2, band=2)

    first = claiming(world)
    assert [grant.band for grant in first.grants] == [1, 1]
    finish(world, first.grants)
    assert [grant.band for grant in claiming(world, nonce=2).grants] == [2, 2]


def test_a_paused_group_starts_nothing_and_others_go_on(world: World) -> None:
    world.seed.group_paused("a")
    fill(world, "a", 3)
    fill(world, "b", 3)

    assert order(claiming(world)) == ["b", "b", "b"]
    assert claiming(world, nonce=2).word == "empty"


def test_many_groups_that_rest_do_not_hide_one_that_does_not(world: World) -> None:
    world.seed.limit("1 - - - -", "*")
    for n in range(140):
        world.seed.running(f"r{n:03}", group=f"g{n:03}")
        fill(world, f"g{n:03}", 1)
    fill(world, "zeta", 1)

    seen = [order(claiming(world, nonce=nonce, limit=5)) for nonce in range(1, 8)]

    assert [group for part in seen for group in part] == ["zeta"]
    assert len(world.state()["ring"]) == 140


def test_a_group_starts_as_many_as_it_has_tokens_and_the_next_when_there_is_one(world: World) -> None:
    world.seed.limit(f"- {20 * S} 3 - 3/min", "a")
    fill(world, "a", 5)

    claimed = claiming(world)

    assert len(claimed.grants) == 3
    assert world.time(claimed.next_due) == "now+20s"
    assert world.state()["gdue"] == {"2a": "now+20s"}
    assert world.state()["rates"] == {"a": "now+60s"}
    assert claiming(world, nonce=2).word == "empty"
    world.raw.zadd(world.lane.rates, {"a": world.seed.at(40)})  # twenty seconds later
    world.raw.zadd(world.lane.gdue, {"2a": world.seed.at(0)})
    assert len(claiming(world, nonce=3).grants) == 1


def test_a_queue_runs_no_more_than_it_may_with_or_without_groups(world: World) -> None:
    world.seed.limit("4 - - - -")
    fill(world, "a", 3)
    fill(world, "", 3)
    world.raw.delete(world.lane.wake)

    first = claiming(world)
    assert order(first) == ["a", "", "a", ""]
    assert (first.next_due, "wake" in world.state()) == (0, False)
    assert claiming(world, nonce=2).word == "empty"
    finish(world, first.grants[:1])
    assert len(claiming(world, nonce=3).grants) == 1


def test_a_queue_starts_as_many_as_it_has_tokens(world: World) -> None:
    world.seed.limit(f"- {20 * S} 2 - 3/min")
    fill(world, "", 5)

    claimed = claiming(world)

    assert len(claimed.grants) == 2
    assert world.time(claimed.next_due) == "now+20s"
    assert world.state()["rates"] == {"": "now+40s"}
    second = claiming(world, nonce=2)
    assert (second.word, world.time(second.next_due)) == ("empty", "now+20s")


def test_a_repeated_claim_of_groups_answers_the_same_and_changes_nothing(world: World) -> None:
    world.seed.limit("2 10000 5 - 100/s", "*")
    fill(world, "a", 3)
    call = claim(world.lane, child="w.1", nonce=1, lease_us=60 * S, limit=5)

    first = world.run(call)

    assert [(one.id, one.token) for one in world.again(call).grants] == [(one.id, one.token) for one in first.grants]


def test_a_turn_with_nothing_behind_it_is_let_go(world: World) -> None:
    world.raw.zadd(world.lane.gdue, {"2gone": world.seed.at(-10)})
    world.seed.turns("left", time=1000)

    assert claiming(world).word == "empty"

    assert not {"gdue", "ring"} & set(world.state())


def test_a_tick_finds_groups_that_rest_for_nothing(world: World) -> None:
    for group in ("free", "full", "paused"):
        world.seed.waiting(f"w{group}", group=group)
        world.seed.rests(group)
    world.seed.limit("1 - - - -", "full")
    world.seed.running("r", group="full")
    world.seed.group_paused("paused")

    for _ in range(40):
        world.run(tick(world.lane))
        if "gdue" in world.state():
            break

    assert world.state()["gdue"] == {"2free": "now"}
    assert world.state()["wake"] == {"w": 0}


def test_a_tick_lets_full_buckets_go(world: World) -> None:
    world.raw.zadd(world.lane.rates, {"old": world.seed.at(-10), "new": world.seed.at(60)})

    world.run(tick(world.lane))

    assert world.state()["rates"] == {"new": "now+60s"}


@pytest.mark.parametrize(("most", "wakes"), [(1, False), (2, True)])
def test_a_tick_wakes_nobody_for_a_queue_that_is_full(world: World, most: int, wakes: bool) -> None:
    world.seed.limit(f"{most} - - - -")
    world.seed.running("r")
    world.seed.waiting("a")

    world.run(tick(world.lane))

    assert ("wake" in world.state()) is wakes


@pytest.mark.parametrize("group", ["", "acme"])
@pytest.mark.parametrize(("waited", "bands"), [(30, [0, 3]), (90, [0, 3]), (200, [3, 0])])
def test_a_low_job_that_has_waited_long_enough_comes_before_a_fresher_one(
    world: World, waited: int, bands: list[int], group: str
) -> None:
    world.raw.hset(world.lane.conf, "aging", str(60 * S))
    world.seed.waiting("low", band=3, due=-waited, group=group)
    world.seed.waiting("high", band=0, due=-10, group=group)

    assert [grant.band for grant in claiming(world, limit=1).grants + claiming(world, nonce=2, limit=1).grants] == bands


def test_without_aging_priority_is_strict(world: World) -> None:
    world.seed.waiting("low", band=3, due=-10_000)
    world.seed.waiting("high", band=0)

    assert [grant.band for grant in claiming(world).grants] == [0, 3]


def test_old_jobs_leave_half_of_a_claim_to_urgent_ones(world: World) -> None:
    world.raw.hset(world.lane.conf, "aging", str(60 * S))
    for n in range(10):
        world.seed.waiting(f"low{n}", band=3, due=-1000)
        world.seed.waiting(f"high{n}", band=0)

    assert [grant.band for grant in claiming(world, limit=8).grants] == [3] * 4 + [0] * 4


@pytest.mark.parametrize("group", ["", "acme"])
def test_idle_children_do_not_look_at_each_token_of_a_bucket_that_holds_many(world: World, group: str) -> None:
    world.seed.limit("- 1000 20 - 1000/s", group or None)
    fill(world, group, 50)

    claimed = claiming(world)

    assert (len(claimed.grants), claimed.next_due - claimed.now) == (20, 10_000)
