"""`dead rescue`, `rescues`, `stop-rescue` and `undo-rescue`. No reaper runs, so nothing is replayed."""

from __future__ import annotations

import json

import pytest

from tests.cli.hand import Cli, Hand
from tests.support.each import each


@pytest.fixture
def group(cli: Cli, hand: Hand) -> str:
    """A group of two dead letters."""
    hand.buries("a")
    hand.buries("b")
    return cli("dead", "groups", "-o", "ids").stdout.strip()


def test_a_rescue_begins_is_shown_stopped_and_undone(cli: Cli, group: str) -> None:
    begun = cli("dead", "rescue", group, "--rate", "5/min", "--canary", "2", "--stop-after", "3", "--by", "ann")
    (rescue,) = cli("dead", "rescues", "-o", "ids").stdout.split()
    shown = cli("dead", "rescues", group).stdout.splitlines()
    stopped = cli("dead", "stop-rescue", group, "--by", "bob")
    again = cli("dead", "stop-rescue", rescue)
    undone = cli("dead", "undo-rescue", rescue)

    assert begun.stdout == f"Rescue {rescue} of 2 dead letters runs; 'jobfleet dead rescues {rescue}' shows it.\n"
    assert rescue.startswith(f"{group}-")
    assert "state       running" in shown
    assert "stage       canary 1 of 1" in shown
    assert "plan        2, then 0.083333/s; stops after 3 failures" in shown
    assert "replayed    0 of 2" in shown
    assert (stopped.exit_code, stopped.stdout) == (0, f"{rescue} is stopped.\n")
    assert (again.exit_code, again.stdout) == (1, f"{rescue} was stopped.\n")
    assert undone.stdout == f"0 jobs of {rescue} are dead letters again.\n"


def test_rescues_are_listed(cli: Cli, group: str) -> None:
    (rescue,) = json.loads("[" + cli("dead", "rescue", group, "-o", "json").stdout + "]")

    heads, row = (line.split() for line in cli("dead", "rescues").stdout.splitlines())

    assert heads == ["RESCUE", "STATE", "STAGE", "REPLAYED", "IN", "FLIGHT", "COMPLETED", "FAILED", "BEGUN"]
    assert row == [rescue["id"], "running", "canary", "1", "of", "2", "0/2", "0", "0", "0", "0", "s"]
    assert (rescue["canary"], rescue["rate"], rescue["stop_after"], rescue["by"]) == ([1, 10], 10.0, 1, None)
    assert [one["id"] for one in json.loads(cli("dead", "rescues", "-o", "json").stdout)] == [rescue["id"]]


def test_nothing_is_said_as_nothing(cli: Cli) -> None:
    result = cli("dead", "rescues")

    assert (result.exit_code, result.stderr) == (0, "No rescues. 'jobfleet dead rescue GROUP' begins one.\n")
    assert cli("dead", "rescues", "-o", "json").stdout == "[]\n"


@each(
    "words, code, text",
    [
        (["rescue", "0" * 16], 3, f"No group '{'0' * 16}' of dead letters; 'jobfleet dead groups' lists them."),
        (["rescue", "0" * 16, "--canary", "x"], 2, "'x': give whole numbers such as 1,10, or none."),
        (["rescue", "0" * 16, "--rate", "x"], 2, "rate is 'x'; give jobs per second, or a rate such as"),
        (["rescue", "0" * 16, "--stop-after", "0"], 2, "stop_after is 0; give a whole number from 1."),
        (["rescues", "x"], 3, "No rescue 'x'; 'jobfleet dead rescues' lists them."),
        (["stop-rescue", "x"], 3, "No rescue 'x'; 'jobfleet dead rescues' lists them."),
        (["undo-rescue", "0" * 16], 3, f"No rescue '{'0' * 16}'; 'jobfleet dead rescues' lists them."),
    ],
)
def test_what_is_wrong_is_named(cli: Cli, words: list[str], code: int, text: str) -> None:
    result = cli("dead", *words)

    assert (result.exit_code, text in result.stderr) == (code, True), result.stderr


def test_a_group_has_one_rescue_at_a_time(cli: Cli, group: str) -> None:
    cli("dead", "rescue", group)

    result = cli("dead", "rescue", group)

    assert result.exit_code == 2
    assert "'jobfleet dead stop-rescue " in result.stderr
