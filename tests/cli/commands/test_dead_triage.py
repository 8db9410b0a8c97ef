"""`dead triage` on a terminal with a real server."""

from __future__ import annotations

from pathlib import Path

import pytest

from jobfleet import Fleet
from tests.cli.hand import Cli, Hand
from tests.cli.terminal import Terminal
from tests.support.server import RedisServer


@pytest.fixture
def environ(here: Path, redis_url: str) -> dict[str, str]:
    return {"JOBFLEET_URL": redis_url}


@pytest.fixture
def groups(fleet: Fleet, hand: Hand) -> list[str]:
    """Five groups with 5 to 1 letters, those with most first."""
    for number, word in enumerate(("one", "two", "three", "four", "five"), 1):
        for index in range(number):
            hand.buries(f"{word}-{index}", error=f"no luck with {word}", queue="mail" if index % 2 else "default")
    found = sorted(fleet.dead_groups(), key=lambda row: -row.count)
    assert [row.count for row in found] == [5, 4, 3, 2, 1]
    return [row.fingerprint for row in found]


def audited(fleet: Fleet) -> list[tuple[str, str, str, str]]:
    """The audit, oldest first."""
    return [(one.by, one.source, one.action, one.target) for one in reversed(fleet.audit().entries)]


def test_each_group_gets_its_decision(environ: dict[str, str], fleet: Fleet, groups: list[str]) -> None:
    replayed, rescued, resolved, ignored, skipped = groups

    with Terminal("dead", "triage", "--by", "ann", columns=60, environ=environ) as terminal:
        lines = terminal.shows(replayed)
        assert "Traceback" in lines
        terminal.types("r")
        terminal.shows("Replay 5 dead letters? y/N")
        terminal.types("y")
        terminal.shows(f"{replayed}: 5 dead letters replayed.")
        terminal.types("c")
        terminal.shows("Rescue 4 dead letters")
        assert "".join(terminal.screen).endswith("y/N")
        terminal.types("y")
        terminal.shows("dead rescues' shows it.")
        terminal.types("vy")
        terminal.shows(f"{resolved} is resolved.")
        terminal.types("in")
        terminal.shows("Nothing was changed.")
        terminal.types("iy")
        terminal.shows(f"{ignored} is ignored.")
        terminal.types("s")
        terminal.shows("All 5 groups are seen.")
        terminal.types("q")
        assert terminal.ends() == 0

    assert " ".join(terminal.text.rpartition("\x1b[?1049l")[2].split()) == (
        "5 dead letters replayed, 1 rescue begun, 1 group resolved, 1 group ignored, 1 group skipped."
    )
    rescue = fleet.rescues()[0]
    assert (rescue.fingerprint, rescue.by, rescue.total) == (rescued, "ann", 4)
    assert {row.fingerprint: (str(row.state), row.count) for row in fleet.dead_groups()} == {
        replayed: ("new", 0), rescued: ("new", 4), resolved: ("resolved", 3), ignored: ("ignored", 2),
        skipped: ("new", 1),
    }  # fmt: skip
    assert audited(fleet) == [
        ("ann", "cli", "dead.replay", f"fingerprint={replayed}"), ("ann", "cli", "rescue.start", rescued),
        ("ann", "cli", "dead.resolve", resolved), ("ann", "cli", "dead.ignore", ignored),
    ]  # fmt: skip


def test_one_queue(environ: dict[str, str], fleet: Fleet, groups: list[str]) -> None:
    with Terminal("dead", "triage", "--queue", "mail", environ=environ) as terminal:
        terminal.shows("2 of 5")
        terminal.types("r")
        terminal.shows("Replay 2 dead letters? y/N")
        terminal.types("y")
        terminal.shows("group 2 of 4")
        terminal.types("q")
        assert terminal.ends() == 0

    assert fleet.dead_group(groups[0]).count == 3


def test_groups_that_are_decided_are_left_out_unless_all_are_wanted(
    environ: dict[str, str], fleet: Fleet, groups: list[str]
) -> None:
    for name in groups[:3]:
        fleet.ignore(name)

    with Terminal("dead", "triage", environ=environ) as terminal:
        terminal.shows("group 1 of 2")
        terminal.types("q")
        terminal.ends()
    with Terminal("dead", "triage", "--all", environ=environ) as terminal:
        terminal.shows("group 1 of 5")
        terminal.types("q")
        terminal.ends()
    for name in groups[3:]:
        fleet.resolve(name)
    with Terminal("dead", "triage", environ=environ) as terminal:
        assert terminal.ends() == 0
    assert terminal.text.strip() == "No dead letters to decide about."


def test_letters_that_another_person_replays_are_not_counted(
    environ: dict[str, str], fleet: Fleet, groups: list[str]
) -> None:
    with Terminal("dead", "triage", environ=environ) as terminal:
        terminal.shows("letters    5")
        assert "Traceback" in terminal.screen
        fleet.replay_many(fingerprint=groups[0])
        terminal.shows("letters   0")
        terminal.types("r")
        terminal.shows("The group has no dead letters any more.")
        terminal.types("\x03")
        assert terminal.ends() == 130
    assert "Nothing was changed." in terminal.text


def test_an_outage_is_shown_and_nothing_is_lost(here: Path, own_server: RedisServer) -> None:
    with Fleet(own_server.url) as fleet:
        hand = Hand(fleet)
        hand.knows("demo.fail")
        hand.buries("a")

    variables = {"JOBFLEET_URL": own_server.url, "JOBFLEET_PATIENCE": "0.1"}
    with Terminal("dead", "triage", environ=variables) as terminal:
        terminal.shows("no luck")
        own_server.kill()
        terminal.types("ry")
        terminal.shows("; trying again.")
        lines = terminal.shows("No Redis at")
        assert any("no luck" in line for line in lines)
        terminal.types("q")
        assert terminal.ends() == 0
    assert terminal.text.rstrip().endswith("Nothing was changed.")


def test_it_requires_a_terminal(cli: Cli, groups: list[str]) -> None:
    result = cli("dead", "triage")

    assert (result.exit_code, result.stderr) == (
        2,
        "Triage requires a terminal; 'dead groups' lists the groups for programs. Try 'jobfleet dead triage -h'.\n",
    )
