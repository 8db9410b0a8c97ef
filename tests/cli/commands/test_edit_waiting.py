"""`edit`: other arguments for a waiting job, by flags, and in an editor on a terminal."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from jobfleet import Fleet, Job
from tests.cli.hand import Cli, Hand
from tests.cli.terminal import Terminal
from tests.support.each import each
from tests.support.waiting import wait_until

WAITS = "default.0.a"


@pytest.fixture
def waiting(fleet: Fleet, hand: Hand) -> str:
    """A job that waits."""
    hand.knows("editing.add")
    fleet.enqueue(Job("editing.add", "editing.add", ["x", 2], {"deep": {"odd": (1,)}}, id="a", unique="once"))
    return WAITS


def editing(here: Path, url: str, script: str) -> Terminal:
    """Run `edit` on a terminal, with a shell script as the editor: $1 is the file."""
    editor = here / "editor"
    editor.write_text(f"#!/bin/sh\n{script}\n")
    editor.chmod(0o755)
    return Terminal("edit", WAITS, environ={"JOBFLEET_URL": url, "VISUAL": str(editor), "TMPDIR": str(here)})


def test_json_and_ids_tell_the_same(cli: Cli, hand: Hand, waiting: str) -> None:
    done = cli("edit", waiting, "--kwargs", '{"to": "ann"}', "-o", "json")
    listed = cli("edit", waiting, "--kwargs", '{"to": "bob"}', "-o", "ids")
    hand.claims(waiting)
    late = cli("edit", waiting, "--kwargs", "{}", "-o", "json")

    assert (done.exit_code, json.loads(done.stdout)) == (0, {"edited": [waiting], "left": []})
    assert (listed.exit_code, listed.stdout) == (0, f"{waiting}\n")
    assert (late.exit_code, json.loads(late.stdout)) == (1, {"edited": [], "left": [waiting]})
    assert late.stderr == "default.0.a is running; only a waiting job can be edited.\n"


def test_a_dead_letter_is_left_to_the_command_for_it(cli: Cli, hand: Hand, waiting: str) -> None:
    hand.fails(hand.claims(waiting))

    result = cli("edit", waiting, "--args", "[]")

    assert (result.exit_code, result.stdout) == (1, "")
    assert result.stderr == (
        "default.0.a is failed; only a waiting job can be edited. 'jobfleet dead edit' edits a dead letter.\n"
    )


@each(
    "flags, code, line",
    [
        ([WAITS, "--args", "[1,"], 2, "args, line 1, column 4: Expecting value."),
        ([WAITS, "--args", '{"a": 1}'], 2, 'args is {"a": 1}; give a JSON list, for example [20, "ann"].'),
        ([WAITS], 2, "Give --args, --kwargs or both; an editor needs a terminal. Try 'jobfleet edit -h'."),
        (["default.0.zzz", "--args", "[]"], 3, "No job 'default.0.zzz': never enqueued, or its result was deleted."),
    ],
)
def test_what_is_refused_changes_nothing(
    cli: Cli, fleet: Fleet, waiting: str, flags: list[str], code: int, line: str
) -> None:
    result = cli("edit", *flags)

    assert (result.exit_code, result.stdout, result.stderr) == (code, "", f"{line}\n")
    assert fleet.details(waiting).args == ("x", 2)


# In an editor


def test_a_text_that_says_nothing_new_changes_nothing(waiting: str, fleet: Fleet, here: Path, redis_url: str) -> None:
    with editing(here, redis_url, "true") as terminal:
        assert terminal.ends() == 1

    assert "Nothing changed; default.0.a keeps its arguments." in terminal.text
    assert fleet.details(waiting).args == ("x", 2)


WAITS_FOR_GO = """sed -i 's/"x"/"y"/' "$1"; touch opened; while [ ! -e go ]; do sleep 0.05; done"""


@pytest.mark.parametrize(
    ("rival", "line"),
    [
        ("edits", "default.0.a was edited elsewhere; check it and edit it again."),
        ("claims", "default.0.a is running; only a waiting job can be edited."),
    ],
)
def test_what_was_written_is_kept_when_somebody_else_was_faster(
    waiting: str, fleet: Fleet, hand: Hand, here: Path, redis_url: str, rival: str, line: str
) -> None:
    with editing(here, redis_url, WAITS_FOR_GO) as terminal:
        wait_until((here / "opened").exists, why="the editor opens")
        if rival == "edits":
            fleet.edit(waiting, ["theirs"])
        else:
            hand.claims(waiting)
        (here / "go").touch()
        assert terminal.ends() == 1

    assert line in terminal.text.replace("\r\n", " ")
    assert len(list(here.glob("jobfleet-*.json"))) == 1
    assert fleet.details(waiting).args == (("theirs",) if rival == "edits" else ("x", 2))
