"""`dead edit`: other arguments by flags, and in an editor on a terminal."""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from pathlib import Path
from typing import Any
from uuid import UUID

import pytest

from jobfleet import Fleet, Job, JobStatus
from jobfleet.cli.view import history_of
from jobfleet.codec import open_envelope
from jobfleet.store.calls.inspect import status
from jobfleet.store.records import InWait
from tests.cli.hand import Cli, Hand
from tests.cli.terminal import Terminal
from tests.support.each import each
from tests.support.server import RedisServer
from tests.support.waiting import wait_until

ODD = [datetime(2026, 1, 1, tzinfo=UTC), Decimal("1.10"), UUID(int=7), {1, "a"}, (1, b"\0"), timedelta(0, 1), {1: 2}]
DEAD = "default.0.a"
UUID_WANTED = 'args[1]: $uuid holds "x"; write {"$uuid": "01939f3e-5d5c-7c11-8a55-0242ac120002"}.'
Editing = Callable[..., Terminal]


def call_of(fleet: Fleet, job_id: str = DEAD) -> tuple[list[Any], dict[str, Any]]:
    """The arguments of a job that waits."""
    _, (found,) = fleet.store.run(status(fleet.context.keys.lane_of(job_id), [job_id]))
    assert isinstance(found, InWait)
    opened = open_envelope(found.envelope)
    return opened.args, opened.kwargs


@pytest.fixture
def letter(fleet: Fleet, hand: Hand) -> str:
    """A dead letter with arguments of all kinds."""
    fleet.enqueue(Job("demo.add", "demo.add", ["x", *ODD], {"deep": {"odd": ODD}}, id="a", unique="once"))
    hand.fails(hand.claims(DEAD))
    return DEAD


@pytest.fixture
def editing(here: Path, redis_url: str) -> Editing:
    """Run `dead edit` on a terminal, with a shell script as the editor: $1 is the file."""

    def start(script: str, url: str = redis_url) -> Terminal:
        editor = here / "editor"
        editor.write_text(f"#!/bin/sh\n{script}\n")
        editor.chmod(0o755)
        variables = {"JOBFLEET_URL": url, "VISUAL": str(editor), "TMPDIR": str(here)}
        return Terminal("dead", "edit", DEAD, environ=variables)

    return start


def drafts(here: Path) -> list[Path]:
    """The texts that were left behind."""
    return list(here.glob("jobfleet-*.json"))


# By flags


def test_flags_change_what_they_name_and_leave_the_rest(cli: Cli, fleet: Fleet, letter: str) -> None:
    result = cli("dead", "edit", letter, "--args", '[20, {"$tuple": [1]}]', "--by", "ann")

    assert (result.exit_code, result.stderr) == (0, "")
    assert result.stdout == "Replayed default.0.a with the new arguments.\n"
    assert call_of(fleet) == ([20, (1,)], {"deep": {"odd": ODD}})
    assert fleet.poll(letter).unique == "once"


def test_json_and_ids_tell_the_same(cli: Cli, letter: str) -> None:
    done = cli("dead", "edit", letter, "--kwargs", '{"to": "ann"}', "-o", "json")
    again = cli("dead", "edit", letter, "--kwargs", "{}", "-o", "json")

    assert (done.exit_code, json.loads(done.stdout)) == (0, {"edited": [letter], "left": []})
    assert (again.exit_code, json.loads(again.stdout)) == (1, {"edited": [], "left": [letter]})
    assert again.stderr == "default.0.a: the job is open, or did not fail.\n"


def test_show_tells_the_new_arguments_once_it_has_died_again(cli: Cli, hand: Hand, letter: str) -> None:
    cli("dead", "edit", letter, "--args", "[20]", "--kwargs", "{}", "--by", "ann")
    hand.fails(hand.claims(letter))

    assert "arguments: 20\n" in cli("dead", "show", letter).stdout


def test_the_history_says_that_it_was_edited() -> None:
    lines = ("1 0 ValueError: no", "replayed 0 ann edited", "replayed 0 - edited", "replayed 0 bob", "replayed 0 -")

    told = [line.split("  ", 1)[1] for line in history_of(lines)]

    assert told == [
        "run 1: ValueError: no", "replayed by ann with other arguments", "replayed with other arguments",
        "replayed by bob", "replayed",
    ]  # fmt: skip


@pytest.mark.parametrize("line", ["rubbish", "1 yesterday no", "1 99999999999999999 no"])
def test_a_line_of_the_history_that_cannot_be_read_is_shown_as_it_is(line: str) -> None:
    assert [*history_of((line,))] == [line]


@each("flags, line", [
        (["--args", "[1,"], "args, line 1, column 4: Expecting value."),
        (["--kwargs", "{1: 2}"],
         "kwargs, line 1, column 2: Expecting property name enclosed in double quotes."),
        (["--args", '{"a": 1}'], 'args is {"a": 1}; give a JSON list, for example [20, "ann"].'),
        (["--kwargs", "[1]"], 'kwargs is [1]; give a JSON object, for example {"to": "ann"}.'),
        (["--args", '[1, {"$uuid": "x"}]'], UUID_WANTED),
        (["--args", "[99999999999999999999]"], "args[0]: int beyond 64 bits cannot be encoded; pass it as str."),
        ([], "Give --args, --kwargs or both; an editor needs a terminal. Try 'jobfleet dead edit -h'."),
    ])  # fmt: skip
def test_what_is_refused_changes_nothing(cli: Cli, fleet: Fleet, letter: str, flags: list[str], line: str) -> None:
    before = fleet.letter(letter)

    result = cli("dead", "edit", letter, *flags)

    assert (result.exit_code, result.stdout, result.stderr) == (2, "", f"{line}\n")
    assert fleet.letter(letter) == before


def test_a_job_that_is_no_dead_letter(cli: Cli, hand: Hand) -> None:
    result = cli("dead", "edit", "default.0.zzz", "--args", "[]")

    assert (result.exit_code, result.stderr) == (3, "No dead letter 'default.0.zzz'.\n")


def test_a_unique_key_that_is_held_refuses(cli: Cli, fleet: Fleet, letter: str) -> None:
    holder = fleet.enqueue(Job("demo.add", "demo.add", unique="once", id="b"))

    result = cli("dead", "edit", letter, "--args", "[]")

    assert (result.exit_code, result.stderr) == (1, f"Job {holder!r} holds the unique key.\n")
    assert fleet.letter(letter).args == ("x", *ODD)


# In an editor


def test_an_edit_of_one_thing_leaves_all_others_as_they_were(
    letter: str, editing: Editing, fleet: Fleet, here: Path
) -> None:
    with editing("""sed -i 's/"x"/"y"/' "$1" """) as terminal:
        assert terminal.ends() == 0

    assert "Replayed default.0.a with the new arguments." in terminal.text
    assert call_of(fleet) == (["y", *ODD], {"deep": {"odd": ODD}})
    assert drafts(here) == []


@pytest.mark.parametrize("script", ["true", ': > "$1"', 'echo >> "$1"'], ids=["unchanged", "emptied", "a line more"])
def test_a_text_that_says_nothing_new_changes_nothing(
    letter: str, editing: Editing, fleet: Fleet, here: Path, script: str
) -> None:
    with editing(script) as terminal:
        assert terminal.ends() == 1

    assert "Nothing changed; default.0.a stays a dead letter." in terminal.text
    assert fleet.letter(DEAD).args == ("x", *ODD)
    assert drafts(here) == []


BREAKS_THEN_MENDS = """
if grep -q BROKEN "$1"; then sed -i 's/BROKEN/"y"/' "$1"; else sed -i 's/"x"/BROKEN/' "$1"; fi
"""


def test_a_text_that_is_no_json_opens_again_as_it_was_left(
    letter: str, editing: Editing, fleet: Fleet, here: Path
) -> None:
    with editing(BREAKS_THEN_MENDS) as terminal:
        terminal.until("Text, line 3, column 5: Expecting value. Open it again? [Y/n]")
        terminal.types("\n")
        assert terminal.ends() == 0

    assert call_of(fleet)[0] == ["y", *ODD]
    assert drafts(here) == []


def test_what_was_written_is_kept_when_it_is_given_up(letter: str, editing: Editing, fleet: Fleet, here: Path) -> None:
    with editing(BREAKS_THEN_MENDS) as terminal:
        terminal.until("[Y/n]")
        terminal.types("n\n")
        assert terminal.ends() == 1

    (draft,) = drafts(here)
    assert f"Your text is kept in {draft}." in terminal.text.replace("\r\n", "")
    assert "BROKEN" in draft.read_text()
    assert draft.stat().st_mode & 0o777 == 0o600
    assert fleet.letter(DEAD).args == ("x", *ODD)


def test_what_cannot_travel_opens_again_too(letter: str, editing: Editing, fleet: Fleet) -> None:
    with editing("""sed -i 's/"x"/99999999999999999999/' "$1" """) as terminal:
        terminal.until("args[0]: int beyond 64 bits")
        terminal.until("[Y/n]")
        terminal.types("n\n")
        assert terminal.ends() == 1

    assert fleet.letter(DEAD).args == ("x", *ODD)


WAITS_FOR_GO = """sed -i 's/"x"/"y"/' "$1"; touch opened; while [ ! -e go ]; do sleep 0.05; done"""


def test_what_was_written_is_kept_when_somebody_else_was_faster(
    letter: str, editing: Editing, fleet: Fleet, here: Path
) -> None:
    with editing(WAITS_FOR_GO) as terminal:
        wait_until((here / "opened").exists, why="the editor opens")
        fleet.replay(DEAD, args=["theirs"])
        (here / "go").touch()
        assert terminal.ends() == 3

    assert "No dead letter 'default.0.a': the job is queued." in terminal.text
    assert len(drafts(here)) == 1
    assert call_of(fleet)[0] == ["theirs"]


def test_a_letter_that_was_edited_and_died_again_meanwhile_is_left_to_its_editor(
    letter: str, editing: Editing, fleet: Fleet, hand: Hand, here: Path
) -> None:
    with editing(WAITS_FOR_GO) as terminal:
        wait_until((here / "opened").exists, why="the editor opens")
        fleet.replay(DEAD, args=["theirs"])
        hand.fails(hand.claims(DEAD))
        (here / "go").touch()
        assert terminal.ends() == 1

    assert "was edited elsewhere and failed again in the meantime" in terminal.text
    assert len(drafts(here)) == 1
    assert fleet.letter(DEAD).args == ("theirs",)


def test_what_was_written_is_kept_when_redis_goes_away(here: Path, editing: Editing, own_server: RedisServer) -> None:
    with Fleet(own_server.url) as fleet:
        hand = Hand(fleet)
        hand.knows("demo.fail")
        hand.buries("a")

    with editing(WAITS_FOR_GO.replace('"x"', r"\[\]").replace('"y"', '["y"]'), own_server.url) as terminal:
        wait_until((here / "opened").exists, why="the editor opens")
        own_server.kill()
        (here / "go").touch()
        assert terminal.ends() == 4

    assert len(drafts(here)) == 1
    assert '"y"' in drafts(here)[0].read_text()
    assert "Your text is kept in" in terminal.text


def test_an_editor_that_fails_changes_nothing(letter: str, editing: Editing, fleet: Fleet) -> None:
    with editing("exit 3") as terminal:
        assert terminal.ends() == 2

    assert re.search(r"editor: Editing failed", terminal.text)
    assert fleet.poll(DEAD).status is JobStatus.FAILED
