"""`dead groups`: dead letters gathered by function and error. The hand writes all of them down as of demo.add."""

from __future__ import annotations

import json

from tests.cli.hand import Cli, Hand


def test_errors_that_differ_in_numbers_only_are_one(cli: Cli, hand: Hand) -> None:
    hand.buries("a", error="row 7 is bad")
    hand.buries("b", error="no luck")
    hand.buries("c", error="row 1024 is bad")

    result = cli("dead", "groups")

    assert (result.exit_code, result.stderr) == (0, "")
    assert [line.split() for line in result.stdout.splitlines()] == [
        ["COUNT", "FUNCTION", "LAST", "EXAMPLE", "ERROR"],
        ["2", "demo.add", "0", "s", "default.0.c", *["ValueError:", "row", "<n>", "is", "bad"]],
        ["1", "demo.add", "0", "s", "default.0.b", *["ValueError:", "no", "luck"]],
    ]


def test_json_and_ids_have_the_same(cli: Cli, hand: Hand) -> None:
    hand.buries("a", queue="mail")
    hand.buries("b")

    (row,) = json.loads(cli("dead", "groups", "--queue", "mail", "-o", "json").stdout)

    assert row.pop("first") == row.pop("last")
    assert row == {"function": "demo.add", "error": "ValueError: no luck", "count": 1, "example": "mail.0.a"}
    assert cli("dead", "groups", "-o", "ids").stdout == "default.0.b\n"


def test_it_says_when_there_may_be_more(cli: Cli, hand: Hand) -> None:
    for suffix in "ab":
        hand.buries(suffix)

    result = cli("dead", "groups", "--limit", "1")

    assert result.stdout.splitlines()[1].split()[0] == "1"
    assert result.stderr == "Grouped the newest 1; --limit reads more.\n"


def test_nothing_is_said_as_nothing(cli: Cli) -> None:
    assert (cli("dead", "groups").stderr, cli("dead", "groups", "-o", "json").stdout) == ("No dead letters.\n", "[]\n")
