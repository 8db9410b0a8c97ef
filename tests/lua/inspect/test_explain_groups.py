"""What explain tells of groups and limits is what claim goes by."""

from __future__ import annotations

from jobfleet.model.limits import Declaration, DeclaredLimit
from jobfleet.store.calls.inspect import Grouped, Limited, explain
from jobfleet.store.calls.lease import claim
from jobfleet.store.calls.limits import declare, set_limit
from tests.lua.world import World
from tests.support.seed import S


def told(world: World, suffix: str) -> Grouped | None:
    return world.refused(explain(world.lane, world.id(suffix))).group


def test_a_job_without_a_group_in_a_lane_without_limits(world: World) -> None:
    world.seed.waiting("a")

    found = world.refused(explain(world.lane, world.id("a")))

    assert (found.group, found.limit) == (None, None)


def test_a_group_that_is_full_and_who_holds_it(world: World) -> None:
    world.seed.limit("2 - - - -", "acme")
    held = [world.seed.running(suffix, group="acme") for suffix in "xy"]
    world.seed.waiting("a", group="acme")
    world.seed.waiting("b", due=-10, group="acme")

    assert told(world, "a") == Grouped("acme", "", 0, "", Limited(2, 2, 0), tuple(held), 1, 0)


def test_the_limit_of_all_groups_and_the_reason_of_a_pause(world: World) -> None:
    world.seed.limit("3 - - - -", "*")
    world.seed.group_paused("acme")
    world.raw.hset(world.lane.conf, "paused:acme", f"ann@{world.now} db is down")
    world.seed.waiting("a", group="acme")

    assert told(world, "a") == Grouped("acme", "ann", world.now, "db is down", Limited(3, 0, 0), (), 0, 0)


def test_tokens_are_told_as_claim_counts_them(world: World) -> None:
    world.seed.limit(f"- {20 * S} 1 - 3/min", "acme")
    world.seed.limit(f"- {30 * S} 1 - 2/min")
    for suffix in "ab":
        world.seed.waiting(suffix, group="acme", due=-10)
    world.seed.waiting("c", group="zeta", due=-10)
    claimed = world.run(claim(world.lane, child="w.1", nonce=1, lease_us=60 * S, limit=5))

    found = world.refused(explain(world.lane, world.id("b")))

    assert [grant.id for grant in claimed.grants] == [world.id("a")]
    assert found.group is not None
    assert found.limit is not None
    assert [world.time(one.token) for one in (found.group.limit, found.limit)] == ["now+20s", "now+30s"]
    assert found.limit.token == claimed.next_due
    assert found.group.limit.running == found.limit.running == 1


def test_ahead_of_it_are_those_of_its_own_group_and_beside_it_those_who_take_turns(world: World) -> None:
    for n in range(3):
        world.seed.waiting(f"a{n}", due=-10 * (3 - n), group="acme")
    world.seed.waiting("z", due=-60, group="zeta")
    world.seed.waiting("other", band=1, group="acme")
    world.seed.turns("acme")
    world.seed.turns("zeta")

    group = told(world, "a2")

    assert group is not None
    assert (group.ahead, group.turns) == (2, 2)


def test_plain_jobs_are_not_behind_jobs_of_groups(world: World) -> None:
    world.seed.waiting("a", group="acme", due=-60)
    world.seed.waiting("b", due=-30)
    world.seed.waiting("c", due=-10)

    found = world.refused(explain(world.lane, world.id("c")))

    assert (found.rank, found.due) == (1, (0, 0, 3, 0))


def test_the_functions_that_declare_a_limit_are_told_unless_an_operator_has_set_it(world: World) -> None:
    limit = DeclaredLimit("q", "*", concurrency=5, rate="10/min").limit
    places = {field: Declaration(limit, ("app.f", "app.g")) for field in ("limit", "limit:*")}
    world.run(declare(world.lane, places, ["app.f", "app.g"]))
    world.seed.waiting("a", group="acme")

    def by() -> list[tuple[tuple[str, ...], tuple[str, ...]]]:
        found = world.refused(explain(world.lane, world.id("a")))
        assert found.group is not None
        assert found.limit is not None
        return [(one.most_by, one.rate_by) for one in (found.limit, found.group.limit)]

    both = ("app.f", "app.g")
    assert by() == [(both, both), (both, both)]
    world.run(set_limit(world.lane, "limit", "6 = = = ="))
    world.run(set_limit(world.lane, "limit:acme", "= 0 - = none"))
    assert by() == [((), both), (both, ())]
    world.run(set_limit(world.lane, "limit:*", "6 = = = ="))
    assert by() == [((), both), ((), ())]
