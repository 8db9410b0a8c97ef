from __future__ import annotations

from jobfleet.store.calls.journal import Item, gather
from tests.lua.world import World

MIN = 60_000_000


def item(world: World, mark: str, kind: str = "boom", *, window: int = 10 * MIN, at: int = 0) -> Item:
    return Item(mark, kind, window, f"id-{mark}", world.now + at, mark.encode())


def take_in(world: World, *items: Item, most: int = 30) -> int:
    return world.run(gather(world.keys.channel("ops"), items, most=most))


def part(world: World, name: str) -> object:
    return world.state().get(f"notify:ops:{name}")


def test_the_first_of_a_kind_is_told_at_once_and_the_others_gather(world: World) -> None:
    items = [item(world, "a"), item(world, "b", at=-20_000_000), item(world, "c", at=-10_000_000)]

    assert take_in(world, *items) == 3

    assert world.state() == {
        "notify:ops:due": {"id-a": "now"},
        "notify:ops:gathered": {"a": "now", "b": "now", "c": "now"},
        "notify:ops:groups": {":rate": "now 1", "boom": "2 now-20s now-10s 600000000\nb"},
        "notify:ops:held": {"id-a": "0 now 1 now now boom\na"},
        "notify:ops:windows": {"boom": "now+600s"},
    }
    assert world.again(gather(world.keys.channel("ops"), items, most=30)) == 0


def test_what_was_taken_in_before_is_not_taken_in_beside_what_is_new(world: World) -> None:
    take_in(world, item(world, "a"))

    assert take_in(world, item(world, "a"), item(world, "b"), item(world, "b")) == 1

    assert part(world, "groups") == {":rate": "now 1", "boom": "1 now now 600000000\nb"}


def test_without_a_window_each_is_told_by_itself(world: World) -> None:
    assert take_in(world, item(world, "a", window=0), item(world, "b", window=0), most=1) == 2

    assert part(world, "due") == {"id-a": "now", "id-b": "now"}
    assert part(world, "windows") is None


def test_more_kinds_than_a_channel_takes_gather_as_the_rest(world: World) -> None:
    assert take_in(world, *(item(world, f"m{n}", f"kind{n}") for n in range(5)), most=2) == 5

    assert part(world, "due") == {"id-m0": "now", "id-m1": "now"}
    assert part(world, "windows") == {"kind0": "now+600s", "kind1": "now+600s", "rest": "now+300s"}
    assert part(world, "groups") == {
        ":rate": "now 2",
        "kind0": "0 0 0 600000000\n",
        "kind1": "0 0 0 600000000\n",
        "rest": "3 now now 300000000\nm2",
    }


def test_after_five_minutes_a_channel_takes_more_kinds(world: World) -> None:
    world.raw.hset(world.keys.channel("ops").groups, ":rate", f"{world.now - 5 * MIN} 2")

    take_in(world, item(world, "a"), most=2)

    assert part(world, "due") == {"id-a": "now"}


def test_a_channel_that_holds_too_much_gathers_whatever_comes(world: World) -> None:
    world.raw.hset(world.keys.channel("ops").held, mapping={str(n): "" for n in range(1000)})

    take_in(world, item(world, "a", window=0), item(world, "b"))

    assert part(world, "due") is None
    assert part(world, "groups") == {":rate": "now 0", "rest": "2 now now 300000000\na"}


def test_old_marks_go(world: World) -> None:
    marks = world.keys.channel("ops").gathered
    world.raw.zadd(marks, {"old": world.now - 7 * 86_400_000_000, "young": world.now - 10_000_000})

    take_in(world, item(world, "a"))

    assert part(world, "gathered") == {"young": "now-10s", "a": "now"}
