from __future__ import annotations

import pytest

from jobfleet.store.calls.journal import Delivery, Taken, take
from tests.lua.world import World

MIN = 60_000_000
LEASE = 90_000_000


def look(world: World, rules: str = "r") -> Taken:
    return world.run(take(world.keys.channel("ops"), lease_us=LEASE, rules=rules))


def part(world: World, name: str) -> object:
    return world.state().get(f"notify:ops:{name}")


def hold(world: World, delivery: str, row: str, due: int) -> None:
    keys = world.keys.channel("ops")
    world.raw.hset(keys.held, delivery, row)
    world.raw.zadd(keys.due, {delivery: due})


def open_window(world: World, kind: str, row: str, end: int) -> None:
    keys = world.keys.channel("ops")
    world.raw.hset(keys.groups, kind, row)
    world.raw.zadd(keys.windows, {kind: end})


def test_nothing_is_there(world: World) -> None:
    taken = look(world)

    assert taken[1:4] == (0, False, None)
    assert world.state() == {"notify:ops:groups": {":rules": "r now"}}


def test_what_is_due_is_taken_for_the_lease(world: World) -> None:
    hold(world, "d", f"2 {world.now} 1 {world.now} {world.now} boom\nx\ny", world.now - MIN)
    hold(world, "later", f"0 {world.now} 1 1 1 boom\nz", world.now + MIN)

    taken = look(world)

    assert taken.delivery == Delivery("d", 3, world.now, 1, world.now, world.now, "boom", b"x\ny")
    assert world.time(taken.next_us) == "now+60s"
    assert part(world, "due") == {"d": "now+90s", "later": "now+60s"}
    assert part(world, "held") == {"d": "3 now 1 now now boom\nx\ny", "later": "0 now 1 1 1 boom\nz"}
    assert look(world).delivery is None


def test_a_window_that_is_over_tells_what_has_gathered_and_opens_again(world: World) -> None:
    end = world.now - 10_000_000
    open_window(world, "boom", f"411 {world.now - MIN} {world.now} {5 * MIN}\nnotice", end)

    taken = look(world)

    assert taken.delivery == Delivery(f"boom-{end}", 1, taken.now, 411, world.now - MIN, world.now, "boom", b"notice")
    assert part(world, "windows") == {"boom": "now+300s"}
    assert part(world, "groups") == {":rules": "r now", "boom": f"0 0 0 {5 * MIN}\n"}


def test_a_window_in_which_nothing_gathered_is_closed(world: World) -> None:
    open_window(world, "boom", f"0 0 0 {5 * MIN}\n", world.now)

    assert look(world).delivery is None

    assert world.state() == {"notify:ops:groups": {":rules": "r now"}}


def test_a_window_that_goes_on_is_left_alone(world: World) -> None:
    open_window(world, "boom", f"3 1 2 {5 * MIN}\nnotice", world.now + MIN)

    taken = look(world)

    assert (world.time(taken.next_us), taken.delivery) == ("now+60s", None)
    assert part(world, "groups") == {":rules": "r now", "boom": f"3 1 2 {5 * MIN}\nnotice"}


def test_a_channel_that_holds_too_much_goes_on_gathering(world: World) -> None:
    world.raw.hset(world.keys.channel("ops").held, mapping={str(n): "" for n in range(1000)})
    open_window(world, "boom", f"3 1 2 {5 * MIN}\nnotice", world.now)

    look(world)

    assert part(world, "windows") == {"boom": "now+300s"}
    assert part(world, "groups") == {":rules": "r now", "boom": f"3 1 2 {5 * MIN}\nnotice"}


def test_a_delivery_that_tells_nothing_is_let_go(world: World) -> None:
    world.raw.zadd(world.keys.channel("ops").due, {"d": world.now})

    assert look(world).delivery is None
    assert world.state() == {"notify:ops:groups": {":rules": "r now"}}


@pytest.mark.parametrize("name", ["gathered", "windows", "groups", "due", "held"])
def test_all_is_kept_for_a_week_after_the_last_look(world: World, name: str) -> None:
    hold(world, "d", f"0 {world.now} 1 1 1 boom\nx", world.now)
    open_window(world, "boom", f"3 1 2 {5 * MIN}\nnotice", world.now + MIN)
    world.raw.zadd(world.keys.channel("ops").gathered, {"m": world.now})

    look(world)

    assert world.raw.ttl(getattr(world.keys.channel("ops"), name)) > 6 * 86_400


def test_whoever_goes_by_other_rules_is_noticed_for_a_moment(world: World) -> None:
    assert [look(world, rules).has_others for rules in ("r", "r", "s", "s", "r")] == [False, False, True, False, True]
    world.raw.hset(world.keys.channel("ops").groups, ":rules", f"s {world.now - 10_000_000}")

    assert not look(world).has_others
    assert part(world, "groups") == {":rules": "r now"}
