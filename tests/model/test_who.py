"""Names of people and programs in records: one word, which reads as the same name."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from jobfleet.events import CancelRequest, Command, read_control
from jobfleet.model.audit import LENGTH_MAX, NOBODY, from_word, to_word
from jobfleet.store.calls.control import read_pause
from jobfleet.store.records import RunRecord
from tests.support.each import each

NAMES = [
    "Ann Müller",
    "ann@example.org",
    "a|b",
    "100 %",
    "%41",
    "\N{NO-BREAK SPACE}x",
    "line\nend",
    "-",
    "--",
    "李雷",
    "a:b+c.d",
]


@each("name", NAMES)
def test_a_name_is_one_word_and_reads_as_it_was_given(name: str) -> None:
    word = to_word(name)

    assert from_word(word) == name
    assert word.split() == [word]
    assert not set(word) & set("@|\n ")


def test_half_a_surrogate_pair_which_has_no_bytes_is_replaced() -> None:
    assert from_word(to_word("a\ud800b")) == "a?b"


@given(st.text(min_size=1, max_size=LENGTH_MAX))
def test_any_name_reads_as_it_was_given(name: str) -> None:
    word = to_word(name)

    assert from_word(word) == name
    assert word.split() == [word]
    assert not set(word) & set("@|")


@pytest.mark.parametrize("name", [None, ""])
def test_nobody_is_a_word_too(name: str | None) -> None:
    assert to_word(name) == NOBODY == from_word(NOBODY)


def test_letters_stay_as_they_are() -> None:
    assert to_word("Ann Müller") == "Ann%20Müller"


@each("word", ["ann", "Ann_M_ller", "parent:mail.0.1", "replaced-by:mail.0.2"])
def test_a_word_of_an_earlier_version_reads_the_same(word: str) -> None:
    assert from_word(word) == word


def test_a_long_name_is_cut() -> None:
    assert from_word(to_word("ü " * 100)) == "ü " * (LENGTH_MAX // 2)


@each("name", NAMES)
def test_records_and_messages_carry_it(name: str) -> None:
    word = to_word(name)
    command = Command("quiet", "host-1", "ab12", name)

    assert RunRecord.parse(f"7|child|1|2|3|{word}@5@asked")[5:] == (name, 5, "asked")
    assert read_control(f"cancel mail.0.1 7 child {word}") == CancelRequest("mail.0.1", 7, "child", name)
    assert read_control(command.line()) == command
    assert read_pause(f"{word}@5 why")[:2] == (name, 5)
