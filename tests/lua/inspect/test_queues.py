from __future__ import annotations

from jobfleet.store.calls.inspect import queues
from tests.lua.world import World


def test_all_queues_are_read_by_pages(world: World) -> None:
    wanted = {f"q{number}": (1, 1 + number % 3) for number in range(3000)}
    world.raw.hset(world.keys.queues, mapping={name: f"{home}:{lanes}" for name, (home, lanes) in wanted.items()})

    found: dict[str, tuple[int, int]] = {}
    pages, cursor = 0, b"0"
    while pages == 0 or cursor != b"0":
        cursor, page = world.refused(queues(world.keys, cursor))
        assert len(page) < 1500
        found |= page
        pages += 1

    assert found == wanted
    assert pages > 1


def test_without_queues_there_is_one_empty_page(world: World) -> None:
    assert world.refused(queues(world.keys)) == (b"0", {})
