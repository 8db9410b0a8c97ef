"""Printing, alone."""

from __future__ import annotations

import json
from decimal import Decimal

import pytest

from jobfleet.cli.output import Cell, Column, Output, age, clip, plain, to_json, width
from jobfleet.cli.view import jsonable
from jobfleet.clock import span
from tests.support.each import each


def test_a_table_is_aligned() -> None:
    text = Output().table(["NAME", Column("N", is_number=True), "NOTE"], [["a", "1", ""], ["日本", "1,000", "x"]])
    assert text.splitlines() == ["NAME      N  NOTE", "a         1", "日本  1,000  x"]


@each(
    "text, wanted",
    [("a\nb\tc", r"a\nb\tc"), ("\x1b[31m", r"\x1b[31m"), ("\u202eabc", r"\u202eabc"), ("ä日", "ä日"), ("a\\b", "a\\b")],
)
def test_what_a_terminal_would_obey_is_escaped(text: str, wanted: str) -> None:
    assert plain(text) == wanted
    assert json.loads(to_json(text)) == text
    assert to_json(text).isprintable()


@each("seconds, wanted",
     [(0, "0 ms"), (0.0124, "12 ms"), (1.239, "1.24 s"), (59.9, "59.9 s"), (59.99, "1 min"), (185, "3 min 5 s"),
     (7_260, "2 h 1 min"), (176_400, "2 d 1 h")])  # fmt: skip
def test_spans(seconds: float, wanted: str) -> None:
    assert span(seconds) == wanted


def test_ages() -> None:
    assert [age(seconds) for seconds in (-1, 59, 60, 7_200, 200_000)] == ["0 s", "59 s", "1 min", "2 h", "2 d"]


def test_clip_cuts_by_columns() -> None:
    assert clip("abcdef", 4) == "abc…"
    assert width(clip("日本日本日本", 5)) <= 5


def test_values_without_a_form_in_json() -> None:
    value = {"n": float("nan"), 1: Decimal("1.50"), "s": {2, 1}, b"k": (1, None)}
    assert jsonable(value) == {"n": "nan", "1": "1.50", "s": [1, 2], "aw==": [1, None]}


OBEYED = {
    "\x1b[2J": "\\x1b[2J",
    "\x1b]0;title\x07": "\\x1b]0;title\\x07",
    "\r": "\\r",
    "\x08": "\\x08",
    "\x7f": "\\x7f",
    "\x9b31m": "\\x9b31m",
    "\u202e": "\\u202e",
    "\u2066": "\\u2066",
    "\u200f": "\\u200f",
    "\ue000": "\\ue000",
    "\udc9b": "\\udc9b",
}


@each("text, wanted", OBEYED.items())
@each("form", ["ids", "table"])
def test_nothing_that_a_terminal_obeys_is_printed(
    form: str, text: str, wanted: str, capsys: pytest.CaptureFixture[str]
) -> None:
    Output(form).show(data=[], ids=[f"a{text}b"], text=f"a{text}b")

    assert capsys.readouterr().out == f"a{wanted}b\n"


def test_an_id_is_one_line(capsys: pytest.CaptureFixture[str]) -> None:
    Output("ids").show(data=[], ids=["a\nb", "\tc"], text="")

    assert capsys.readouterr().out == "a\\nb\n\\tc\n"


def test_our_own_colours_are_printed_and_no_others(capsys: pytest.CaptureFixture[str]) -> None:
    output = Output()
    output.has_color = True

    output.line(output.table(["A"], [[Cell("x", "red")]]) + "\x1b[8mhidden\x1b[2J")

    assert capsys.readouterr().out == "\x1b[2mA\x1b[0m\n\x1b[31mx\x1b[0m\\x1b[8mhidden\\x1b[2J\n"
