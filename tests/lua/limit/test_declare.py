"""declare: the limits that functions declare, and what an operator has set beside them."""

from __future__ import annotations

from typing import Any, cast

from jobfleet.model.limits import Declaration, DeclaredLimit, field_of
from jobfleet.store.calls.limits import AS_IT_IS, MOST_GROUPS, Declared, declare, set_limit
from tests.lua.world import World

EVERY = field_of("*")
NOTHING = Declared((), {})


def five(*functions: str, **changes: Any) -> Declaration:
    """Five at once, and ten per minute."""
    return Declaration(DeclaredLimit("mail", "*", **{"concurrency": 5, "rate": "10/min", **changes}).limit, functions)


def test_a_declared_limit_is_in_force_and_is_removed_when_its_function_does_not_declare_it(world: World) -> None:
    call = declare(world.lane, {EVERY: five("app.f")}, ["app.f", "app.g"])
    line = "5 6000000.000 10 - 10/min"

    assert world.run(call) == Declared((EVERY,), {})
    assert world.state() == {"conf": {"declared": f"{line} app.f limit:*", "limit:*": line, "groups": "1"}}
    assert world.again(call) == NOTHING

    assert world.again(declare(world.lane, {}, ["app.other"])) == NOTHING
    assert world.run(declare(world.lane, {}, ["app.f"])) == Declared((EVERY,), {})
    assert world.state() == {"conf": {"groups": "0"}}


def test_a_limit_of_the_queue_is_declared_too(world: World) -> None:
    call = declare(world.lane, {field_of(None): five("app.f", rate=None)}, ["app.f"])

    assert world.run(call) == Declared(("limit",), {})
    assert world.state() == {"conf": {"declared": "5 - - - - app.f limit", "limit": "5 - - - -"}}


def test_what_an_operator_has_set_stays_and_wins_field_by_field(world: World) -> None:
    world.seed.limit("2 - - 3 -", "*")

    assert world.run(declare(world.lane, {EVERY: five("app.f")}, ["app.f"])) == Declared((EVERY,), {})
    assert world.state()["conf"] == {
        "declared": "5 6000000.000 10 - 10/min app.f limit:*",
        "limit:*": "2 6000000.000 10 3 10/min",
        "own:*": "2 - - 3 -",
        "groups": "1",
    }

    assert world.run(declare(world.lane, {}, ["app.f"])) == Declared((EVERY,), {})
    assert world.state() == {"conf": {"limit:*": "2 - - 3 -", "groups": "1"}}


def test_an_operator_overrides_a_declared_limit_and_clears_what_was_set(world: World) -> None:
    world.run(declare(world.lane, {EVERY: five("app.f")}, ["app.f"]))
    declared = world.state()

    assert world.run(set_limit(world.lane, EVERY, "7 = 3 = =")) == (True, 0)
    conf = world.state()["conf"]
    assert (conf["limit:*"], conf["own:*"], conf["groups"]) == ("7 6000000.000 3 - 10/min", "7 - 3 - -", "1")
    assert world.run(set_limit(world.lane, EVERY, "= 0 - = none")) == (True, 0)
    assert world.state()["conf"]["limit:*"] == "7 0 - - none"

    assert world.run(set_limit(world.lane, EVERY, "")) == (True, 0)
    assert world.state() == declared
    assert world.again(set_limit(world.lane, EVERY, "")) == (False, 0)
    assert world.again(set_limit(world.lane, EVERY, AS_IT_IS)) == (False, 0)


def test_a_changed_declaration_leaves_what_an_operator_has_set(world: World) -> None:
    world.run(declare(world.lane, {EVERY: five("app.f")}, ["app.f"]))
    world.run(set_limit(world.lane, EVERY, "5 = = = ="))

    world.run(declare(world.lane, {EVERY: five("app.f", concurrency=9, rate="20/min")}, ["app.f"]))

    assert world.state()["conf"]["limit:*"] == "5 3000000.000 20 - 20/min"


def test_a_limit_that_an_earlier_revision_has_set_is_the_operators(world: World) -> None:
    world.run(declare(world.lane, {EVERY: five("app.f")}, ["app.f"]))
    cast(Any, world.raw).hset(world.lane.conf, "limit:*", "3 6000000.000 10 - 10/min")

    world.run(declare(world.lane, {EVERY: five("app.f", concurrency=8, rate=None)}, ["app.f"]))

    conf = world.state()["conf"]
    assert (conf["limit:*"], conf["own:*"]) == ("3 6000000.000 10 - 10/min", "3 6000000.000 10 - 10/min")


def test_a_limit_that_an_earlier_revision_has_cleared_is_stored_again(world: World) -> None:
    world.run(declare(world.lane, {EVERY: five("app.f")}, ["app.f"]))
    declared = world.state()
    world.raw.hdel(world.lane.conf, "limit:*")
    world.raw.hincrby(world.lane.conf, "groups", -1)

    assert world.run(declare(world.lane, {EVERY: five("app.f")}, ["app.f"])) == Declared((EVERY,), {})
    assert world.state() == declared


def test_functions_of_two_processes_share_a_place_and_the_last_one_decides(world: World) -> None:
    world.run(declare(world.lane, {EVERY: five("app.f")}, ["app.f"]))

    assert world.run(declare(world.lane, {EVERY: five("app.g")}, ["app.g"])) == NOTHING
    assert world.state()["conf"]["declared"] == "5 6000000.000 10 - 10/min app.f,app.g limit:*"
    assert world.run(declare(world.lane, {EVERY: five("app.g", concurrency=6)}, ["app.g"])) == Declared(
        (EVERY,), {EVERY: ("app.f",)}
    )
    assert world.state()["conf"]["declared"] == "6 6000000.000 10 - 10/min app.g limit:*"


def test_a_group_may_have_any_name(world: World) -> None:
    group = "Müller & Söhne, Köln"
    call = declare(world.lane, {field_of(group): five("app.f"), EVERY: five("app.g")}, ["app.f", "app.g"])

    assert world.run(call).changed == (EVERY, field_of(group))  # type: ignore[union-attr]
    assert world.again(call) == NOTHING
    assert world.run(declare(world.lane, {EVERY: five("app.g")}, ["app.f", "app.g"])) == Declared(
        (field_of(group),), {}
    )


def test_lines_that_cannot_be_read_are_left_out(world: World) -> None:
    cast(Any, world.raw).hset(world.lane.conf, "declared", "nonsense\n- x")

    assert world.run(declare(world.lane, {}, ["app.f"])) == NOTHING
    assert world.state() == {}


def test_too_many_groups_are_refused(world: World) -> None:
    cast(Any, world.raw).hset(world.lane.conf, "groups", MOST_GROUPS)

    assert world.refused(declare(world.lane, {EVERY: five("app.f")}, ["app.f"])) is None
    assert world.run(declare(world.lane, {field_of(None): five("app.f")}, ["app.f"])) == Declared(("limit",), {})
