"""What a job has spent and witnessed, as it is kept beside it."""

from __future__ import annotations

from dataclasses import replace

from jobfleet.retry.tries import FRESH, Tries
from tests.support.each import each

NOW = 1_700_000_000_000_000


def test_history_is_one_line_a_run_and_bounded() -> None:
    tries = FRESH
    for attempt in range(15):
        tries = replace(tries.noting(NOW, f"a\n\t{'b' * 1_000}"), failures=attempt + 1)

    assert len(tries.history) == 10
    assert tries.history[0].startswith(f"6 {NOW} a bbb")
    assert {len(entry) for entry in tries.history} == {300}
    assert Tries.parse(tries.dump()) == tries


@each(
    "tries, text",
    [
        (FRESH, ""),
        (Tries(1), "1:0:0:0:0"),
        (Tries(1, 2, 3, 4, deaths=5, suspects=6, history=("a b", "c")), "1:2:3:4:5:6\na b\nc"),
        (Tries(deaths=1), "0:0:0:0:1"),
        (Tries(1, first_due=77), "1:0:0:0:0:0:77"),
        (Tries(1, suspects=2, first_due=77, history=("a",)), "1:0:0:0:0:2:77\na"),
    ],
)
def test_tries_are_written_as_text_and_read_back(tries: Tries, text: str) -> None:
    assert tries.dump() == text
    assert Tries.parse(text) == tries


def test_fields_that_a_later_version_adds_to_tries_are_passed_over() -> None:
    assert Tries.parse("1:2:3:4:5:6:7:99:x\na") == Tries(1, 2, 3, 4, deaths=5, suspects=6, first_due=7, history=("a",))


def test_a_suspect_of_an_earlier_version_has_witnessed_one_death() -> None:
    assert Tries.parse("1:2:3:4:1\na") == Tries(1, 2, 3, 4, deaths=1, history=("a",))
