from __future__ import annotations

from typing import Any

from jobfleet.store.calls.journal import write_audit
from tests.lua.world import World


def rows(world: World) -> list[tuple[str, dict[str, str]]]:
    raw: Any = world.raw
    return [
        (position.decode(), {name.decode(): text.decode() for name, text in fields.items()})
        for position, fields in raw.xrange(world.keys.audit)
    ]


def test_a_record_is_added_at_the_end(world: World) -> None:
    first = world.run(write_audit(world.keys, "a", "head", b"body", most=10))
    second = world.run(write_audit(world.keys, "b", "other", b"values", most=10))

    assert rows(world) == [
        (first, {"id": "a", "head": "head", "body": "body"}),
        (second, {"id": "b", "head": "other", "body": "values"}),
    ]
    assert set(world.state()) == {"audit"}


def test_the_record_of_the_end_replaces_that_of_the_beginning(world: World) -> None:
    began = world.run(write_audit(world.keys, "a", "began", b"", most=10))
    other = world.run(write_audit(world.keys, "b", "other", b"", most=10))

    ended = world.run(write_audit(world.keys, "a", "ended", b"x", most=10, began=began))

    assert rows(world) == [
        (other, {"id": "b", "head": "other", "body": ""}),
        (ended, {"id": "a", "head": "ended", "body": "x"}),
    ]


def test_an_end_whose_beginning_was_deleted_is_kept(world: World) -> None:
    ended = world.run(write_audit(world.keys, "a", "ended", b"x", most=10, began="5-1"))

    assert rows(world) == [(ended, {"id": "a", "head": "ended", "body": "x"})]


def test_the_oldest_records_beyond_the_maximum_are_deleted(world: World) -> None:
    for number in range(5):
        world.run(write_audit(world.keys, str(number), "head", b"", most=3))

    assert [fields["id"] for _, fields in rows(world)] == ["2", "3", "4"]
