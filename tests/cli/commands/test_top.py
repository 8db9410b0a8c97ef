"""`top`: one look where nobody watches, and live on a terminal."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any
from unittest.mock import patch

import pytest

from jobfleet import Fleet, Job
from jobfleet.cli.top_state import Pulse
from tests.cli.hand import Cli, Hand
from tests.cli.terminal import Terminal
from tests.support.faults import Faults, FlakyLink
from tests.support.server import RedisServer

ENTER, LEAVE, CURSOR = "\x1b[?1049h", "\x1b[?1049l", "\x1b[?25h"


def frames(text: str) -> list[list[str]]:
    """What was drawn, look by look, without colours."""
    plain = [re.sub(r"\x1b\[[0-9;?]*[a-zA-Z]", "", part) for part in text.split("\x1b[H")[1:]]
    return [[line.rstrip() for line in part.replace("\r", "").split("\n")] for part in plain if part]


# One look


def test_without_a_terminal_one_look_is_printed_as_tables(cli: Cli, fleet: Fleet, hand: Hand) -> None:
    hand.buries("a", queue="mail")
    fleet.enqueue(Job("x", "demo.add"))
    fleet.enqueue(Job("x", "demo.add", delay=60))

    result = cli("top")

    assert (result.exit_code, result.stderr) == (0, "")
    queues, workers, failures = [part.splitlines() for part in result.stdout.split("\n\n")]
    assert [line.split() for line in queues] == [
        ["QUEUE", "WAITING", "LATER", "RUNNING", "DONE/S", "FAIL/S", "OLDEST", "STATE"],
        ["default", "1", "1", "0", "-", "-", "0", "s", "open"],
        ["mail", "0", "0", "0", "-", "-", "-", "open"],
    ]
    assert re.fullmatch(r"w1 +running +2/10 +1 +\d+ d +\d s +default", workers[1])
    assert re.fullmatch(r" *\d s  mail\.0\.a  demo\.\w+ +ValueError: no luck", failures[1])


def test_json_is_one_object_and_ids_are_those_of_failures(cli: Cli, fleet: Fleet, hand: Hand) -> None:
    hand.buries("a")

    told = json.loads(cli("top", "-o", "json").stdout)

    assert list(told) == ["at", "queues", "workers", "failures"]
    [queue], [worker], [failure] = told["queues"], told["workers"], told["failures"]
    assert (queue["name"], queue["dead"], queue["completed_per_second"], queue["failed_per_second"]) == (
        "default", 1, None, None,
    )  # fmt: skip
    assert (worker["id"], worker["slots"], failure["id"]) == ("w1", 10, "default.0.a")
    assert cli("top", "-o", "ids").stdout == "default.0.a\n"


def test_an_empty_fleet(cli: Cli) -> None:
    result = cli("top", "--once")

    assert result.exit_code == 0
    assert result.stdout.split("\n\n") == [
        "No queues yet; the first job or worker creates one.", "No workers. Start one: 'jobfleet worker MODULE'.",
        "No dead letters.\n",
    ]  # fmt: skip


def test_looks_that_are_too_many_are_refused(cli: Cli) -> None:
    result = cli("top", "--every", "0")

    assert (result.exit_code, result.stderr) == (
        2,
        "Invalid value for '--every': 0 s is too often; use 0.1 or more. Try 'jobfleet top -h'.\n",
    )


# What is read


def read_by(fleet: Fleet, pulse: Pulse) -> list[str]:
    """The scripts that a look runs."""
    run_many = fleet.store.run_many
    names: list[str] = []

    def heard(calls: Any) -> list[Any]:
        names.extend(call.script.name for call in calls)
        return run_many(calls)

    with patch.object(fleet.store, "run_many", heard):
        pulse.look()
    return names


def test_dead_letters_are_read_again_only_where_something_has_changed(fleet: Fleet, hand: Hand) -> None:
    hand.buries("a", queue="mail")
    fleet.enqueue(Job("x", "demo.add", delay=60))
    pulse = Pulse(fleet)

    first, second = read_by(fleet, pulse), read_by(fleet, pulse)
    hand.buries("b", queue="mail")
    third = read_by(fleet, pulse)

    idle = ["fleet", "counts", "counts", "fleet"]
    assert (first, second, third) == ([*idle, "fleet", "find_letters"], idle, [*idle, "fleet", "find_letters"])
    assert [letter.id for letter in pulse.look().failures] == ["mail.0.b", "mail.0.a"]
    fleet.purge("mail.0.b")
    assert [letter.id for letter in pulse.look().failures] == ["mail.0.a"]


def test_rates_come_with_the_second_look(fleet: Fleet, hand: Hand) -> None:
    pulse = Pulse(fleet)
    job_id = fleet.enqueue(Job("x", "demo.add"))
    first = pulse.look()
    hand.completes(hand.claims(job_id), 3)
    second = pulse.look()

    assert [(one.completed, one.failed) for one in first.queues] == [(None, None)]
    ((completed, failed),) = [(one.completed, one.failed) for one in second.queues]
    assert completed is not None
    assert completed > 0
    assert failed == 0


def test_rates_are_of_the_last_seconds_alone(fleet: Fleet, hand: Hand) -> None:
    pulse, clock = Pulse(fleet), iter([0.0, 1.0, 2.0, 6.0, 20.0])
    rates = []
    with patch("jobfleet.cli.top_state.monotonic", lambda: next(clock)):
        for _ in range(5):
            hand.completes(hand.claims(fleet.enqueue(Job("x", "demo.add"))), 3)
            rates.append(pulse.look().queues[0].completed)

    assert rates == [None, 1 / 1, 2 / 2, 2 / 5, 1 / 14]


def test_busy_queues_and_living_workers_come_first(fleet: Fleet, hand: Hand) -> None:
    for name in ("a", "b"):
        hand.buries("x", queue=name)
    fleet.enqueue(Job("x", "demo.add", queue="z"))

    assert [one.queue.name for one in Pulse(fleet).look().queues] == ["z", "a", "b"]


def test_an_outage_forgets_nothing(fleet: Fleet, hand: Hand) -> None:
    hand.buries("a")
    pulse = Pulse(fleet)
    pulse.look()
    fleet.store.patience = 0

    with (
        patch.object(fleet.store, "link", FlakyLink(fleet.store.link, Faults(share=1.0))),
        pytest.raises(ConnectionError),
    ):
        pulse.look()

    seen = pulse.look()
    assert seen.queues[0].completed == 0
    assert [letter.id for letter in seen.failures] == ["default.0.a"]


# On a terminal


def test_it_draws_until_ctrl_c_and_leaves_the_terminal_as_it_was(
    here: Path, redis_url: str, fleet: Fleet, hand: Hand
) -> None:
    hand.buries("a")

    with Terminal("top", "--every", "0.1", environ={"JOBFLEET_URL": redis_url}) as terminal:
        terminal.until("no luck")
        fleet.enqueue(Job("x", "demo.add", queue="fresh"))
        drawn = frames(terminal.until("fresh"))[:-1]
        terminal.types("\x03")
        code = terminal.ends()

    assert code == 130
    assert (terminal.text.count(ENTER), terminal.text.count(LEAVE)) == (1, 1)
    assert CURSOR in terminal.text[terminal.text.rindex("fresh") :]
    assert terminal.text[terminal.text.index(LEAVE) + len(LEAVE) :].strip() == ""
    assert "Traceback" not in terminal.text
    for frame in drawn:
        assert len(frame) == 24
        assert max(map(len, frame)) <= 80
        assert [line.split()[0] for line in frame if line][:3] == ["jobfleet", *frame[1].split()[:1], "QUEUE"]


def test_an_outage_is_told_and_gone_through(here: Path, own_server: RedisServer) -> None:
    with Fleet(own_server.url) as fleet:
        Hand(fleet).knows("demo.add")
        fleet.enqueue(Job("x", "demo.add", queue="before"))

    variables = {"JOBFLEET_URL": own_server.url, "JOBFLEET_PATIENCE": "0.1"}
    with Terminal("top", "--every", "0.1", environ=variables) as terminal:
        terminal.until("before")
        own_server.kill()
        gone = len(terminal.text)
        terminal.until("; trying again", after=gone)
        away = len(terminal.text)
        terminal.until("before", after=away)
        own_server.restart()
        back = len(terminal.text)
        terminal.until("No queues yet", after=back)
        terminal.types("\x03")
        assert terminal.ends() == 130

    told = [frame[1] for frame in frames(terminal.text) if len(frame) > 1]
    since = r"Since \d{4}-\d\d-\d\d \d\d:\d\d:\d\d [+-]\d\d:\d\d: "
    assert any(re.match(since + r"No Redis \([\w ]+\); trying again\.$", line) for line in told)
    assert told[-1].startswith("0 waiting")
    assert terminal.text.count(LEAVE) == 1


def test_without_redis_it_does_not_begin(here: Path, own_server: RedisServer) -> None:
    own_server.kill()

    with Terminal("top", environ={"JOBFLEET_URL": own_server.url, "JOBFLEET_PATIENCE": "0.1"}) as terminal:
        assert terminal.ends() == 4

    assert ENTER not in terminal.text
    assert "No Redis at" in terminal.text


@pytest.mark.parametrize("how", [{"TERM": "dumb"}, {"JOBFLEET_OUTPUT": "json"}, {}])
def test_a_terminal_that_cannot_or_should_not_draw_gets_one_look(
    here: Path, redis_url: str, hand: Hand, how: dict[str, str]
) -> None:
    hand.buries("a")
    flags = [] if how else ["--once"]

    with Terminal("top", *flags, environ={"JOBFLEET_URL": redis_url, **how}) as terminal:
        assert terminal.ends() == 0

    assert ENTER not in terminal.text
    assert "no luck" in terminal.text
