from __future__ import annotations

import logging
from typing import Any

import pytest

from jobfleet.model.audit import Position
from jobfleet.store import rows
from jobfleet.store.calls.journal import AuditRecord, read_audit
from tests.lua.world import World


def seed(world: World, *positions: str) -> None:
    for number in positions:
        world.raw.xadd(world.keys.audit, {"id": f"i{number}", "head": "h", "body": "b"}, id=number)


def record(ms: int, number: int) -> AuditRecord:
    return AuditRecord(Position(ms, number), f"i{ms}-{number}", "h", b"b", b"b")


def ids(found: tuple[list[AuditRecord], str]) -> tuple[list[str], str]:
    return [one.id for one in found[0]], found[1]


def test_the_newest_record_comes_first(world: World) -> None:
    seed(world, "5-0", "7-0", "7-1")

    assert world.again(read_audit(world.keys)) == ([record(7, 1), record(7, 0), record(5, 0)], "")


def test_a_fleet_without_an_audit(world: World) -> None:
    assert world.again(read_audit(world.keys)) == ([], "")


def test_a_full_page_has_the_position_of_its_last_record(world: World) -> None:
    seed(world, "5-0", "7-0", "7-1")

    assert ids(world.again(read_audit(world.keys, limit=2))) == (["i7-1", "i7-0"], "7-0")
    assert ids(world.again(read_audit(world.keys, first="(7-0", limit=2))) == (["i5-0"], "")


def test_a_page_ends_at_a_time(world: World) -> None:
    seed(world, "5-0", "7-0", "9-0")

    assert ids(world.again(read_audit(world.keys, first="(9-0", last="6"))) == (["i7-0"], "")


def test_a_reader_that_follows_reads_from_the_oldest(world: World) -> None:
    seed(world, "5-0", "7-0", "9-0")

    found = world.again(read_audit(world.keys, first="(5-0", last="+", is_newest_first=False, limit=1))

    assert ids(found) == (["i7-0"], "7-0")


def test_a_record_that_jobfleet_has_not_written_is_left_out_and_logged(
    world: World, caplog: pytest.LogCaptureFixture
) -> None:
    rows._logged.clear()  # each is logged once in a process
    seed(world, "5-0")
    raw: Any = world.raw
    raw.xadd(world.keys.audit, {"strange": "x"}, id="6-0")

    with caplog.at_level(logging.ERROR):
        assert ids(world.again(read_audit(world.keys))) == (["i5-0"], "")
    assert "audit has b'6-0'" in caplog.text
