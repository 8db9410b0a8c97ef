"""Points add up, and what cannot be read is left out."""

from __future__ import annotations

from typing import Any

import msgpack
import pytest

from jobfleet.samples import (
    COMPLETED,
    FIRST_GAUGE,
    OLDEST,
    WAIT,
    Point,
    Report,
    difference,
    follow,
    join,
    pack,
    pack_mark,
    read_report,
    unpack,
    unpack_marks,
    unpack_point,
)

WAITING, RUNNING = FIRST_GAUGE, FIRST_GAUGE + 3


def test_later_steps_add_counts_and_replace_the_state() -> None:
    point: Point = {COMPLETED: 1, WAITING: 5, RUNNING: 1, OLDEST: 900, WAIT: {3: 1}}

    follow(point, {COMPLETED: 2, WAITING: 4, OLDEST: 100, WAIT: {3: 1, 4: 2}})

    assert point == {COMPLETED: 3, WAITING: 4, OLDEST: 900, WAIT: {3: 2, 4: 2}}


def test_other_series_of_the_same_step_add_up() -> None:
    point: Point = {COMPLETED: 1, WAITING: 5, OLDEST: 900}

    join(point, {COMPLETED: 2, WAITING: 4, RUNNING: 1, OLDEST: 100})

    assert point == {COMPLETED: 3, WAITING: 9, RUNNING: 1, OLDEST: 900}


def test_the_last_point_of_a_step_counts_and_only_with_the_mark_of_its_epoch() -> None:
    encoded = pack(1, 0, {COMPLETED: 1}) + pack(2, 0, {COMPLETED: 2}) + pack(1, 0, {COMPLETED: 3}) + pack(4, 0, {})
    marks = pack_mark(1, 0) + pack_mark(2, 0) + pack_mark(3, 0) + pack_mark(2, 1)

    assert unpack(encoded, unpack_marks(marks)) == {1: {COMPLETED: 3}}


@pytest.mark.parametrize(
    "damage",
    [b"\xc1", b"\x93\x01", msgpack.packb([1, 0, "text"]), msgpack.packb([-1, 0, {}]), msgpack.packb({}), b"\xff" * 9],
)
def test_what_cannot_be_read_is_left_out(damage: bytes) -> None:
    sound = pack(0, 0, {COMPLETED: 1})

    assert unpack(sound + damage, {0: 0, 1: 0}).get(0) == {COMPLETED: 1}
    assert unpack_marks(damage) == {}


@pytest.mark.parametrize(
    "fields", [{COMPLETED: -1}, {COMPLETED: "1"}, {WAIT: 5}, {WAIT: {999: 1}}, {WAIT: {1: -1}}, {"completed": 1}]
)
def test_fields_with_values_of_another_type_are_left_out(fields: dict[Any, Any]) -> None:
    assert unpack_point(msgpack.packb([0, 0, {**fields, OLDEST: 7}])) == {OLDEST: 7}


def test_the_difference_of_two_reports() -> None:
    now, before = {COMPLETED: 5, WAIT: {1: 4, 2: 1}}, {COMPLETED: 3, WAIT: {1: 4}}

    assert difference(now, before) == {COMPLETED: 2, WAIT: {2: 1}}
    assert difference(now, now) == {}
    assert difference(before, now) is None
    assert difference({COMPLETED: 5, WAIT: {2: 9}}, before) is None


@pytest.mark.parametrize("given", [b"", b"\xc1", msgpack.packb(5), msgpack.packb([1]), msgpack.packb([b"1", []])])
def test_a_report_that_cannot_be_read(given: bytes) -> None:
    assert read_report(given) is None


def test_rows_of_a_report_that_cannot_be_read_are_left_out() -> None:
    rows = [["mail", "f", {COMPLETED: 1, 99: 1}], ["mail", 5, {}], "text", ["mail", "g", {COMPLETED: "x"}]]

    assert read_report(msgpack.packb([7, rows])) == Report(7, {("mail", "f"): {COMPLETED: 1}, ("mail", "g"): {}})
