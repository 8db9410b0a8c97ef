"""The record of a limit and its stored line."""

from __future__ import annotations

import math

from jobfleet.model.limits import FIRST_WORDS, LINE, DeclaredLimit, Limit, LimitChange, declarations_of
from tests.support.each import each


@each(
    "line, limit",
    [
        ("", Limit()),
        ("4 10000.000 100 - 100/s", Limit(4, 10000.0, 100, None, "100/s")),
        ("0 0 - 2.5 none", Limit(math.inf, 0.0, None, 2.5, "none")),
        ("- - - - -", Limit()),
        ("4 - -", Limit(4)),
        ("4 - - 2 - - - - - 17 later", Limit(4, weight=2.0)),
        ("x nan() y z 5/s", Limit(rate="5/s")),
    ],
)
def test_a_line_is_read_as_far_as_it_can_be(line: str, limit: Limit) -> None:
    assert Limit.parse(line) == limit


@each(
    "change, line",
    [
        (LimitChange(concurrency=4), "4 = = = ="),
        (LimitChange(concurrency=math.inf, weight=2), "0 = = 2 ="),
        (LimitChange(rate="10/min"), "= 6000000.000 10 = 10/min"),
        (LimitChange(rate=3, burst=1), "= 333333.333 1 = 3/s"),
        (LimitChange(rate="3/1h"), "= 1200000000.000 3 = 3/h"),
        (LimitChange(rate="5/10s"), "= 2000000.000 5 = 5/10s"),
        (LimitChange(rate=math.inf), "= 0 - = none"),
        (LimitChange(burst=7), "= = 7 = ="),
    ],
)
def test_a_change_keeps_what_it_does_not_name(change: LimitChange, line: str) -> None:
    assert change.limit().change() == line


def test_the_time_to_the_next_token_depends_on_how_full_the_bucket_is() -> None:
    limit = Limit.parse("- 1000000 3 - 1/s")

    assert limit.next_token(0, 50_000_000) == 0.0
    assert limit.next_token(52_000_000, 50_000_000) == 0.0
    assert limit.next_token(53_500_000, 50_000_000) == 1.5
    assert Limit(concurrency=4).next_token(53_500_000, 50_000_000) == 0.0


@each(
    "value, is_line",
    [
        (b"4 - - 2 -", True),
        (b"4 - - 2", True),
        (b"4 10000.000 100 - 100/s later words", True),
        (b"4 - -", False),
        (b"nan nan nan nan", False),
        (b"\xff", False),
    ],
)
def test_what_has_not_the_form_is_damaged(value: bytes, is_line: bool) -> None:
    assert (LINE.fullmatch(value) is not None) is is_line


def test_a_declaration_has_the_words_that_each_revision_reads_and_no_others() -> None:
    limit = DeclaredLimit("mail", "*", 5, "10/min").limit

    line = limit.line()

    assert len(line.split()) == FIRST_WORDS
    assert declarations_of(f"{line} app.send limit:*")["limit:*"] == (limit, ("app.send",))
