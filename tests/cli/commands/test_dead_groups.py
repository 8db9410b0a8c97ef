"""`dead groups` and the decisions about a group. The hand writes all dead letters down as of demo.add."""

from __future__ import annotations

import json

import pytest

from tests.cli.hand import Cli, Hand


def rows(cli: Cli, *options: str) -> list[dict[str, object]]:
    """The groups as data."""
    found: list[dict[str, object]] = json.loads(cli("dead", "groups", "-o", "json", *options).stdout)
    return found


def test_errors_that_differ_in_numbers_only_are_one(cli: Cli, hand: Hand) -> None:
    hand.buries("a", error="row 7 is bad")
    hand.buries("b", error="no luck")
    hand.buries("c", error="row 1024 is bad")

    result = cli("dead", "groups")

    assert (result.exit_code, result.stderr) == (0, "")
    heads, *lines = [line.split() for line in result.stdout.splitlines()]
    assert heads == ["COUNT", "GROUP", "STATE", "FUNCTION", "LAST", "ERROR"]
    assert [[line[0], *line[2:]] for line in lines] == [
        ["2", "new", "demo.add", "0", "s", *["ValueError:", "row", "<n>", "is", "bad"]],
        ["1", "new", "demo.add", "0", "s", *["ValueError:", "no", "luck"]],
    ]
    assert cli("dead", "groups", "-o", "ids").stdout.split() == [line[1] for line in lines]


def test_json_has_the_times_and_an_example(cli: Cli, hand: Hand) -> None:
    hand.buries("a", queue="mail")
    hand.buries("b", error="row 7 is bad")

    (row,) = rows(cli, "--queue", "mail")

    assert row.pop("first") == row.pop("last") == row.pop("changed_at")
    assert row.pop("fingerprint")
    assert row == {
        "state": "new", "function": "demo.add", "error_class": "ValueError", "error": "no luck", "count": 1,
        "versions": ["1"], "example": "mail.0.a", "by": None, "rescue": "",
    }  # fmt: skip


def test_pages_follow_each_other(cli: Cli, hand: Hand) -> None:
    hand.buries("a")
    hand.buries("b", error="row 7 is bad")

    first = cli("dead", "groups", "--limit", "1")
    cursor = first.stderr.removeprefix("There are more groups: --cursor ").strip()
    second = cli("dead", "groups", "--limit", "5", "--cursor", cursor)

    assert ("row <n> is bad" in first.stdout, "no luck" in second.stdout) == (True, True)
    assert "row <n> is bad" not in second.stdout
    assert cli("dead", "groups", "--cursor", "x").exit_code == 2


def test_nothing_is_said_as_nothing(cli: Cli) -> None:
    assert (cli("dead", "groups").stderr, cli("dead", "groups", "-o", "json").stdout) == ("No dead letters.\n", "[]\n")


@pytest.mark.parametrize(("verb", "state"), [("resolve", "resolved"), ("ignore", "ignored"), ("reopen", "known")])
def test_a_decision_is_recorded(cli: Cli, hand: Hand, verb: str, state: str) -> None:
    hand.buries("a")
    group = cli("dead", "groups", "-o", "ids").stdout.strip()

    assert cli("dead", verb, group, "--by", "ann").stdout == f"{group} is {state}.\n"
    assert cli("dead", verb, group).stdout == f"{group} was {state} before.\n"

    (row,) = rows(cli)
    assert (row["state"], row["by"]) == (state, "ann")


def test_a_group_without_letters_is_shown_on_request(cli: Cli, hand: Hand) -> None:
    hand.buries("a")
    assert len(rows(cli)) == 1

    cli("dead", "purge", "--all", "--yes")

    assert rows(cli) == []
    assert [row["count"] for row in rows(cli, "--all")] == [0]


def test_wrong_and_unknown_groups_are_refused(cli: Cli) -> None:
    unknown, wrong = cli("dead", "resolve", "0" * 16), cli("dead", "ignore", "x")

    assert (unknown.exit_code, unknown.stderr) == (
        3, "No group '0000000000000000' of dead letters; 'jobfleet dead groups' lists them.\n"
    )  # fmt: skip
    assert (wrong.exit_code, wrong.stderr) == (
        2, "fingerprint is 'x'; give the 16 digits that 'jobfleet dead groups' shows.\n"
    )  # fmt: skip


def test_letters_are_listed_replayed_and_purged_by_filter(cli: Cli, hand: Hand) -> None:
    hand.buries("a")
    hand.buries("b", error="row 7 is bad")
    group = next(str(row["fingerprint"]) for row in rows(cli) if row["error"] == "no luck")

    assert cli("dead", "ls", "--fingerprint", group, "-o", "ids").stdout == "default.0.a\n"
    assert cli("dead", "ls", "--function", "demo.fail").stderr == "No dead letters.\n"
    assert cli("dead", "replay", "--fingerprint", group, "--yes", "-o", "ids").stdout == "default.0.a\n"
    assert cli("dead", "purge", "--since", "2020-01-01", "--yes", "-o", "ids").stdout == "default.0.b\n"
    assert cli("dead", "replay", "--until", "2020-01-01").exit_code == 3


def test_ids_and_filters_are_not_given_together(cli: Cli) -> None:
    result = cli("dead", "replay", "x", "--tag", "eu")

    assert (result.exit_code, result.stderr) == (2, "Give ids or filters, not both. Try 'jobfleet dead replay -h'.\n")


def test_letters_come_in_pages(cli: Cli, hand: Hand) -> None:
    for suffix in "abc":
        hand.buries(suffix)

    first = cli("dead", "ls", "--limit", "2", "-o", "ids")
    cursor = first.stderr.removeprefix("There are more: --cursor ").strip()

    assert first.stdout.split() == ["default.0.c", "default.0.b"]
    assert cli("dead", "ls", "--cursor", cursor, "-o", "ids").stdout.split() == ["default.0.a"]
