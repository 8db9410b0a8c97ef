"""The bytes of a terminal as keys, and lines that fit it."""

from __future__ import annotations

import pytest

from jobfleet.cli.output import Cell, Output, width
from jobfleet.cli.terminal import KeyReader, cropped, folded, foot_lines, hints, page_of, window
from tests.support.each import each

RED, END = "\x1b[31m", "\x1b[0m"


@each(
    "data, keys",
    [
        (b"jq?", ["j", "q", "?"]),
        (b"\x1b[A\x1b[B\x1bOA\x1bOB", ["up", "down", "up", "down"]),
        (b"\x1b[5~\x1b[6~\x1b[H\x1b[F\x1b[1~\x1b[4~", ["page-up", "page-down", "home", "end", "home", "end"]),
        (b"\r\n\t\x7f\b", ["enter", "enter", "tab", "backspace", "backspace"]),
        ("é日".encode(), ["é", "日"]),
        (b"\x1b[1;5C\x1b[200~a\x01\x00", ["a"]),  # without a name here
        (b"\x1bq", ["escape", "q"]),
        (b"\x1b\x1b[A", ["escape", "up"]),
        (b"\xff", ["\ufffd"]),
    ],
)
def test_keys(data: bytes, keys: list[str]) -> None:
    reader = KeyReader()

    assert reader.feed(data) == keys
    assert not reader.is_unfinished


@pytest.mark.parametrize("data", [b"a\x1b[6~b", "日".encode(), b"\x1bOA"])
def test_keys_that_arrive_byte_by_byte(data: bytes) -> None:
    reader = KeyReader()

    found = [key for byte in data for key in reader.feed(bytes([byte]))]

    assert found == KeyReader().feed(data)


def test_a_lone_escape_is_a_key_when_nothing_follows() -> None:
    reader = KeyReader()
    assert reader.feed(b"\x1b") == []
    assert reader.is_unfinished
    assert reader.flush() == ["escape"]
    assert reader.feed(b"\x1b[") == []
    assert reader.flush() == []
    assert not reader.is_unfinished


@each(
    "line, columns, lines",
    [
        ("abcdef", 3, ["abc", "def"]),
        ("", 3, [""]),
        (f"{RED}abcd{END}ef", 3, [f"{RED}abc{END}", f"{RED}d{END}ef"]),
        (f"{RED}ab{END}cd", 2, [f"{RED}ab{END}", "cd"]),
        ("日本語", 5, ["日本", "語"]),
        ("日", 1, ["", "日"]),
    ],
)
def test_lines_are_folded_with_their_colours(line: str, columns: int, lines: list[str]) -> None:
    assert folded(line, columns) == lines
    assert cropped(line, columns) == lines[0]


@each("number, place, room, shown",
     [(3, 0, 5, [0, 1, 2]), (9, 0, 3, [0, 1, 2]), (9, 4, 3, [3, 4, 5]), (9, 8, 3, [6, 7, 8]), (9, 5, 1, [5]),
     (9, 5, 0, [])])  # fmt: skip
def test_the_selected_row_is_in_the_window(number: int, place: int, room: int, shown: list[int]) -> None:
    assert [*window(number, place, room)] == shown


def test_a_page_fills_the_terminal_and_ends_with_its_last_line() -> None:
    assert page_of(["title"], ["a" * 9, "b"], ["foot"], columns=4, rows=6) == ["titl", "aaaa", "b", "", "", "foot"]
    assert page_of(["title"], ["a", "b", "c"], ["fo", "ot"], columns=9, rows=4) == ["title", "a", "fo", "ot"]


def test_the_foot_takes_as_many_lines_as_its_text_needs() -> None:
    def lines(text: str, columns: int = 60, rows: int = 24) -> list[str]:
        return foot_lines(Output(), Cell(text, "red"), columns=columns, rows=rows)

    assert lines("a question? y/N") == ["a question? y/N"]
    assert lines("Replay " + "x" * 50 + "? y/N") == ["Replay " + "x" * 50 + "?", "y/N"]
    assert lines("x" * 70 + "? y/N") == ["x" * 60, "x" * 10 + "? y/N"]
    assert lines("日" * 31) == ["日" * 30, "日"]
    assert len(lines("x" * 999)) == 6
    assert lines("x" * 9, columns=3, rows=2) == ["xxx"]
    assert lines("") == [""]


def test_hints_are_left_out_as_a_whole() -> None:
    pairs = [("j/k", "move"), ("enter", "open"), ("q", "quit")]

    assert hints(pairs, 60) == "j/k move   enter open   q quit"
    assert hints(pairs, 25) == "j/k move   enter open"
    assert width(hints(pairs, 3)) == 0
