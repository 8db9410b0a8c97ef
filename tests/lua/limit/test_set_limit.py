from __future__ import annotations

from typing import Any, cast

from jobfleet.model.limits import field_of
from jobfleet.store.call import DURABILITY
from jobfleet.store.calls.limits import AGING, MOST_GROUPS, set_limit
from tests.lua.world import World


def test_a_limit_is_set_changed_and_cleared(world: World) -> None:
    call = set_limit(world.lane, field_of(None), "4 10000 100 - 100/s")

    assert world.run(call) == (True, 0)
    assert world.state() == {"conf": {"limit": "4 10000 100 - 100/s"}}
    assert world.again(call) == (False, 0)

    assert world.run(set_limit(world.lane, field_of(None), "5 = = = =")) == (True, 0)
    assert world.state() == {"conf": {"limit": "5 10000 100 - 100/s"}}

    assert world.run(set_limit(world.lane, field_of(None), "")) == (True, 0)
    assert world.state() == {}


def test_a_limit_of_which_nothing_is_left_is_gone(world: World) -> None:
    world.seed.limit("4 - - - -", "acme")

    assert world.run(set_limit(world.lane, field_of("acme"), "- = = = =")) == (True, 0)

    assert world.state() == {"conf": {"groups": "0"}}


def test_a_word_of_a_later_revision_stays(world: World) -> None:
    world.seed.limit("4 10000 100 - 100/s 17")

    assert world.run(set_limit(world.lane, field_of(None), "5 0 - = none")) == (True, 0)

    assert world.state() == {"conf": {"limit": "5 0 - - none 17"}}


def test_groups_with_limits_are_counted(world: World) -> None:
    world.run(set_limit(world.lane, field_of("acme"), "4 - - - -"))
    world.run(set_limit(world.lane, field_of("*"), "= = = 2 ="))
    world.run(set_limit(world.lane, field_of("acme"), "5 = = = ="))

    assert world.state() == {"conf": {"limit:acme": "5 - - - -", "limit:*": "- - - 2 -", "groups": "2"}}


def test_a_group_that_rested_is_looked_at_again_in_each_of_its_bands(world: World) -> None:
    for suffix, band in (("a", 1), ("b", 2)):
        world.seed.waiting(suffix, band=band, group="acme")
        world.seed.rests("acme", band=band)

    assert world.run(set_limit(world.lane, field_of("acme"), "5 - - - -")) == (True, 2)

    assert world.state()["gdue"] == {"1acme": "now", "2acme": "now"}
    assert world.state()["wake"] == {"w": 0}


def test_all_that_rested_are_looked_at_a_page_at_a_time(world: World) -> None:
    for n in range(60):
        world.seed.waiting(f"{n:02}", group=f"g{n:02}")
        world.seed.rests(f"g{n:02}")

    assert world.run(set_limit(world.lane, field_of("*"), "9 - - - -")) == (True, 50)
    assert world.run(set_limit(world.lane, field_of("*"), "9 - - - -", skip=50)) == (False, 10)

    assert len(world.state()["gdue"]) == 60


def test_a_limit_of_the_queue_wakes_somebody_if_anything_is_due(world: World) -> None:
    world.seed.waiting("a")

    assert world.run(set_limit(world.lane, field_of(None), "5 - - - -")) == (True, 0)

    assert world.state()["wake"] == {"w": 0}


def test_aging_is_a_number_of_microseconds(world: World) -> None:
    assert world.run(set_limit(world.lane, AGING, "60000000")) == (True, 0)
    assert world.state() == {"conf": {"aging": "60000000"}}

    assert world.run(set_limit(world.lane, AGING, "")) == (True, 0)
    assert world.state() == {}


def test_too_many_groups_are_refused_and_those_there_are_can_still_be_changed(world: World) -> None:
    world.seed.limit("4 - - - -", "acme")
    cast(Any, world.raw).hset(world.lane.conf, "groups", MOST_GROUPS)

    assert world.refused(set_limit(world.lane, field_of("zeta"), "4 - - - -")) is None
    assert world.run(set_limit(world.lane, field_of("acme"), "5 - - - -")) == (True, 0)


def test_a_durability_is_set_and_cleared(world: World) -> None:
    assert world.run(set_limit(world.lane, DURABILITY, "fsync")) == (True, 0)
    assert world.state() == {"conf": {"durability": "fsync"}}
    assert world.again(set_limit(world.lane, DURABILITY, "fsync")) == (False, 0)

    assert world.run(set_limit(world.lane, DURABILITY, "")) == (True, 0)
    assert world.state() == {}
