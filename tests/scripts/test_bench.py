"""The benchmarks' own arithmetic: medians, ratios, targets, the table and what is written."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path

import pytest

from bench.__main__ import ROWS, measure, write
from bench.figure import Figure, Outcome, Reading, Row, Target, interval, number, table
from bench.functions import SLOT
from bench.setting import Count, Setting, Trouble, metered

RATE = Figure("rate", "drain", "jobs/s", "bare loop", Target("≥", 30_000))
SHARE = Figure("share", "enqueue", "jobs/s", "bare SET loop", Target("≥", 0.85, "ratio"))
TOLD = Figure("told", "only told", "ms")


def outcome(figure: Figure, *pairs: tuple[float, float | None], error: str = "") -> Outcome:
    return Outcome(figure, [Reading(*pair) for pair in pairs], error)


def test_medians_are_taken_of_values_floors_and_of_each_rounds_ratio() -> None:
    seen = outcome(RATE, (10, 10), (40, 20), (30, 60))

    assert (seen.value, seen.floor, seen.ratio) == (30, 20, 1.0)


def test_a_figure_without_readings_or_floor_has_none() -> None:
    assert (outcome(RATE).value, outcome(RATE).floor, outcome(RATE).ratio, outcome(RATE).is_met) == (None,) * 4
    assert outcome(RATE, (1, None)).ratio is None
    assert outcome(RATE, (1, 0.0)).ratio is None


@pytest.mark.parametrize(
    ("target", "value", "ratio", "is_met"),
    [
        (Target("≥", 10), 10, None, True),
        (Target("≥", 10), 9.9, None, False),
        (Target("≤", 10), 10, None, True),
        (Target("≤", 10), 10.1, None, False),
        (Target("≥", 0.9, "ratio"), 5, 0.9, True),
        (Target("≥", 0.9, "ratio"), 5, 0.8, False),
        (Target("≤", 1.25, "ratio"), 5, None, False),
    ],
)
def test_targets(target: Target, value: float, ratio: float | None, is_met: bool) -> None:
    assert target.is_met(value, ratio) is is_met


def test_numbers_have_three_digits() -> None:
    assert [number(value) for value in (None, 0.1234, 1.5, 99.96, 100.4, 31_234.5)] == [
        "-", "0.123", "1.5", "100", "100", "31,234",
    ]  # fmt: skip


def test_the_table_has_a_line_a_figure() -> None:
    text = table(
        [outcome(RATE, (31_000, 9_000), (33_000, 11_000)), outcome(SHARE, (70, 100)), outcome(TOLD, (1.5, None))]
    )

    assert text.splitlines() == [
        "figure                        measured         spread   floor  ratio  target           met",
        "drain (bare loop)        32,000 jobs/s  31,000–33,000  10,000   3.22  ≥ 30,000 jobs/s  yes",
        "enqueue (bare SET loop)      70 jobs/s                    100   0.70  ≥ 0.85 × floor   NO",
        "only told                       1.5 ms",
    ]


def test_the_table_in_markdown() -> None:
    lines = table([outcome(TOLD, (1.5, None))], markdown=True).splitlines()

    assert lines == [
        "| figure | measured | spread | floor | ratio | target | met |",
        "| --- | ---: | ---: | ---: | ---: | --- | --- |",
        "| only told | 1.5 ms |  |  |  |  |  |",
    ]


def test_a_row_that_fails_costs_only_itself() -> None:
    def good(setting: Setting) -> Mapping[str, Reading]:
        return {"told": Reading(float(setting.size(100)))}

    def bad(_: Setting) -> Mapping[str, Reading]:
        raise Trouble("no luck")

    rows = (Row("bad", (RATE,), bad), Row("good", (TOLD,), good), Row("once", (SHARE,), lambda _: {}, rounds=1))
    seen = measure(rows, Setting(quick=True), 2)

    assert [(each.figure.key, each.value, each.error) for each in seen] == [
        ("rate", None, "Trouble: no luck"), ("told", 10.0, ""), ("share", None, ""),
    ]  # fmt: skip
    assert len(seen[1].readings) == 2
    assert "error: Trouble: no luck" in table(seen)


def test_what_is_written_names_machine_and_command(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("bench.__main__.machine", lambda: {"python": "3.14"})
    path = tmp_path / "new" / "out.json"

    write(path, [outcome(RATE, (10, 20))], ["drain", "--rounds", "1"])

    record = json.loads(path.read_text())
    assert record["command"] == "python -m bench drain --rounds 1"
    assert record["machine"] == {"python": "3.14"}
    assert record["figures"]["rate"] == {
        "title": "drain", "unit": "jobs/s", "value": 10, "floor": 20, "floor_is": "bare loop", "ratio": 0.5,
        "interval": None, "target": "≥ 30,000 jobs/s", "met": False, "rounds": [[10, 20]], "error": "",
    }  # fmt: skip


def test_rows_and_figures_have_names_of_their_own() -> None:
    names = [row.name for row in ROWS]
    keys = [figure.key for row in ROWS for figure in row.figures]

    assert len(set(names)) == len(names)
    assert len(set(keys)) == len(keys)


def test_a_meter_that_is_being_made_counts_nothing_yet(tmp_path: Path) -> None:
    (tmp_path / "1.meter").write_bytes(b"")
    (tmp_path / "2.meter").write_bytes(SLOT.pack(0, 0, 0))
    assert metered(tmp_path) == Count(0, 0.0, 0.0)

    (tmp_path / "3.meter").write_bytes(SLOT.pack(2, 3_000_000_000, 5_000_000_000))
    (tmp_path / "4.meter").write_bytes(SLOT.pack(1, 2_000_000_000, 4_000_000_000))
    assert metered(tmp_path) == Count(3, 2.0, 5.0)


@pytest.mark.parametrize(
    ("count", "ends"), [(5, None), (6, (1, 6)), (8, (1, 8)), (9, (2, 8)), (20, (6, 15)), (100, (40, 61))]
)
def test_the_interval_of_a_median_is_that_of_the_sign_test(count: int, ends: tuple[int, int] | None) -> None:
    assert interval([*map(float, reversed(range(1, count + 1)))]) == ends


def test_the_pairs_of_a_row_are_readings_of_their_own_and_the_table_has_their_interval() -> None:
    pairs = [Reading(100.0 + number, 100.0) for number in range(20)]
    seen = measure([Row("pairs", (SHARE,), lambda _: {"share": pairs}, rounds=1)], Setting(), 2)

    assert seen[0].readings == pairs
    assert "1.095 (1.050–1.140)" in table(seen)
    assert seen[0].plain()["interval"] == (1.05, 1.14)
