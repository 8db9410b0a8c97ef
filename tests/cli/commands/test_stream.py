"""`stream`: what a job has emitted."""

from __future__ import annotations

import json
import threading
from typing import Any

import pytest
import redis

from jobfleet import Fleet, Job
from jobfleet.cli.output import harmless
from jobfleet.codec import encode
from jobfleet.store.calls.run import Emission, emit_chunks
from jobfleet.store.records import Grant
from tests.cli.hand import Cli, Hand
from tests.support.waiting import wait_until


def emits(hand: Hand, grant: Grant, *values: Any, first: int = 1, most: int = 100) -> None:
    """A run emits chunks."""
    chunks = [encode(value) for value in values]
    emission = Emission(grant.id, grant.token, 60_000, first, chunks)
    lane = hand.fleet.context.keys.lane_of(grant.id)
    hand.run(emit_chunks(lane, [emission], most=most, most_bytes=10_000))


@pytest.fixture
def grant(fleet: Fleet, hand: Hand) -> Grant:
    return hand.claims(fleet.enqueue(Job("Add up", "demo.add", (1, 2), id="a")))


def test_text_is_written_as_it_is_and_data_as_lines(cli: Cli, hand: Hand, grant: Grant) -> None:
    emits(hand, grant, "Hello ", "world\n", b"\x1b[1mraw\x1b[0m", {"delta": [1, None], "password": "x"}, 7)

    result = cli("stream", grant.id)

    assert (result.exit_code, result.stderr) == (0, "")
    assert result.stdout == 'Hello world\n\x1b[1mraw\x1b[0m{"delta": [1, null], "password": "***"}\n7\n'
    assert cli("stream", grant.id, "--tail", "1").stdout == "7\n"


def test_a_terminal_gets_no_control_characters() -> None:
    assert harmless("a\tb\n\x1b[2J") == "a\tb\n\\x1b[2J"


def test_dropped_chunks_are_said(cli: Cli, hand: Hand, grant: Grant) -> None:
    emits(hand, grant, *"abcde", most=2)

    result = cli("stream", grant.id)

    assert (result.stdout, result.stderr) == ("de", "… 3 chunks dropped\n")


def test_a_second_run_is_said(cli: Cli, fleet: Fleet, hand: Hand, grant: Grant, raw: redis.Redis) -> None:
    emits(hand, grant, "half")
    key = fleet.context.keys.lane_of(grant.id).chunks(grant.id)
    raw.xadd(key, {"at": "2 9", "v": encode("whole")}, id=f"{grant.token + 1}-1")

    result = cli("stream", grant.id)

    assert result.stdout == "halfwhole"
    assert result.stderr == "The job runs again; what follows is the output of another run.\n"


def test_programs_get_json_lines_or_the_id(cli: Cli, hand: Hand, grant: Grant) -> None:
    emits(hand, grant, "one", b"two")

    rows = [json.loads(line) for line in cli("stream", grant.id, "-o", "json").stdout.splitlines()]

    assert rows == [
        {
            "value": value, "position": f"{grant.token}-{n}-{n}", "epoch": grant.token, "number": n,
            "is_restart": False, "dropped": 0,
        }
        for n, value in ((1, "one"), (2, "dHdv"))
    ]  # fmt: skip
    assert cli("stream", grant.id, "-o", "ids").stdout == f"{grant.id}\n"
    assert cli("stream", grant.id, "--after", rows[0]["position"]).stdout == "two"


def test_a_job_without_output_is_no_error(cli: Cli, grant: Grant) -> None:
    result = cli("stream", grant.id)

    assert (result.exit_code, result.stdout) == (0, "")
    assert result.stderr == f"{grant.id} has no output.\n"


def test_a_wrong_position_is_refused(cli: Cli, grant: Grant) -> None:
    result = cli("stream", grant.id, "--after", "7")

    assert result.exit_code == 2
    assert "after is '7'; give the position of a Chunk" in result.stderr


@pytest.mark.parametrize("options", [(), ("-f",)])
def test_an_unknown_job_is_not_found(cli: Cli, options: tuple[str, ...]) -> None:
    result = cli("stream", "default.0.none", *options)

    assert (result.exit_code, result.stdout) == (3, "")
    assert result.stderr.startswith("No job 'default.0.none'")


def test_a_stream_is_followed_until_the_job_ends(
    cli: Cli, fleet: Fleet, hand: Hand, grant: Grant, raw: redis.Redis
) -> None:
    emits(hand, grant, "one ")
    seen: list[str] = []

    def follow() -> None:
        seen.append(cli("stream", grant.id, "-f").stdout)

    follower = threading.Thread(target=follow)
    follower.start()
    wait_until(lambda: raw.exists(fleet.context.keys.lane_of(grant.id).listeners), timeout=30, why="somebody listens")
    emits(hand, grant, "two", first=2)
    hand.completes(grant, 3)
    follower.join(30)

    assert seen == ["one two"]
