from __future__ import annotations

from typing import Any

from jobfleet.model.limits import Demand
from jobfleet.store.calls.limits import Leaving, Passing, define_limit, gates, leave_gates, pass_gates
from tests.lua.world import World


def test_gates_are_read_with_the_runs_inside(world: World) -> None:
    world.run(define_limit(world.keys, "limit:x", most=2))
    world.run(pass_gates(world.keys, "c", [Passing("mail.0.a", 7, (Demand("limit:x"),))]))

    _, (row,) = world.refused(gates(world.keys))

    assert row == ("limit:x", {"defined": "1", "most": "2"}, 1, ("7 0 mail.0.a",), "")
    assert world.run(gates(world.keys, ["limit:y"]))[1] == [("limit:y", {}, 0, (), "")]
    assert world.run(gates(world.keys, ["limit:x"], held_us=60_000_000))[1][0].holders == ()


def test_gates_are_read_a_page_at_a_time(world: World) -> None:
    for number in range(51):
        world.go(define_limit(world.keys, f"limit:{number:02}", most=1))

    assert len(world.run(gates(world.keys))[1]) == 50
    assert len(world.run(gates(world.keys, skip=50))[1]) == 1


def test_gates_that_were_not_used_for_long_are_forgotten_but_no_defined_limit(world: World) -> None:
    breaker = Demand("breaker:group:mail:acme", words="0.5 4 2 60000000 1000000")
    world.run(define_limit(world.keys, "limit:x", most=1))
    world.raw.zadd(world.keys.gates, {"breaker:group:mail:gone": world.now - 31 * 86_400 * 1_000_000})

    demands = (Demand("limit:x"), breaker)
    world.run(pass_gates(world.keys, "c", [Passing("mail.0.a", 7, demands)]))
    world.run(leave_gates(world.keys, "c", [Leaving("7 0 mail.0.a", demands, "ok", "", 0)]))

    rows: Any = world.raw.zrange(world.keys.gates, 0, -1, withscores=True)
    assert dict(rows) == {
        b"breaker:group:mail:acme": world.raw.zscore(world.keys.gates, breaker.gate),
        b"limit:x": 9e15,
    }


def test_a_gate_that_cannot_be_read_is_named_and_hides_no_other(world: World) -> None:
    world.run(define_limit(world.keys, "limit:x", most=2))
    world.raw.set(world.keys.gate("limit:y"), "no hash")
    world.raw.set(world.keys.inside("limit:z"), "no zset")
    world.raw.hset(world.keys.gate("limit:w"), mapping={"most": "few"})

    _, rows = world.refused(gates(world.keys, ["limit:w", "limit:x", "limit:y", "limit:z"]))

    assert [(row.name, row.unreadable) for row in rows] == [
        ("limit:w", "gate:limit:w most is b'few'"),
        ("limit:x", ""),
        ("limit:y", "gate:limit:y is not a hash"),
        ("limit:z", "inside:limit:z is not a zset"),
    ]
