from __future__ import annotations

from jobfleet.model.limits import Demand
from jobfleet.store.calls.limits import MOST_LIMITS, Passing, define_limit, pass_gates
from tests.lua.world import World

HOUR_US = 3_600_000_000


def fields(world: World) -> dict[bytes, bytes]:
    return dict(world.raw.hgetall(world.keys.gate("limit:x")))  # type: ignore[arg-type]  # not a pipeline


def test_a_limit_is_defined_changed_and_removed(world: World) -> None:
    call = define_limit(world.keys, "limit:x", most=3, count=10, period_us=HOUR_US, rate="10/h")

    assert world.run(call) is True
    assert fields(world) == {
        b"defined": b"1",
        b"most": b"3",
        b"count": b"10",
        b"period": b"3600000000",
        b"rate": b"10/h",
    }
    assert world.again(call) is False

    assert world.run(define_limit(world.keys, "limit:x", bounds=(2, 9))) is True
    rate = {b"defined": b"1", b"count": b"10", b"period": b"3600000000", b"rate": b"10/h"}
    assert fields(world) == {**rate, b"low": b"2", b"high": b"9"}, "the rate stays; bounds replace a fixed number"
    assert world.run(define_limit(world.keys, "limit:x", most=4)) is True
    assert fields(world) == {**rate, b"most": b"4"}
    assert world.run(define_limit(world.keys, "limit:x", bounds=(2, 9), how="replace")) is True
    assert fields(world) == {b"defined": b"1", b"low": b"2", b"high": b"9"}

    assert world.run(define_limit(world.keys, "limit:x", how="remove")) is True
    assert world.state() == {}
    assert world.refused(define_limit(world.keys, "limit:x", how="remove")) is False


def test_what_was_used_counts_on_under_another_period(world: World) -> None:
    world.run(define_limit(world.keys, "limit:x", count=10, period_us=365 * 24 * HOUR_US, rate="10/365d"))
    world.run(pass_gates(world.keys, "c", [Passing("mail.0.a", 7, (Demand("limit:x", 6),))]))

    world.run(define_limit(world.keys, "limit:x", count=10, period_us=300 * 24 * HOUR_US, rate="10/300d"))

    seen = world.run(pass_gates(world.keys, "", [], look=[Demand("limit:x")]))
    assert seen.rooms["limit:x"].units == 4


def test_too_many_limits_are_refused(world: World) -> None:
    world.raw.zadd(world.keys.gates, {f"limit:{n}": 9e15 for n in range(MOST_LIMITS)})

    assert world.refused(define_limit(world.keys, "limit:x", most=1)) is None
