"""`events tail`: what happens to jobs, as it happens."""

from __future__ import annotations

import json
import re
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import UTC, datetime

import pytest
import redis

from jobfleet import Fleet, Job
from jobfleet.events import NAMES
from jobfleet.store.script import load, names
from tests.cli.hand import Cli, Hand, local_day
from tests.support.waiting import wait_until


@contextmanager
def heard(raw: redis.Redis, act: Callable[[], object], *, channels: int = 1) -> Iterator[None]:
    """Do something as soon as somebody listens, beside the command that does."""

    def wait_and_act() -> None:
        wait_until(lambda: len(marks(raw)) >= channels, why="the command listens")
        act()

    thread = threading.Thread(target=wait_and_act)
    thread.start()
    yield
    thread.join()


def marks(raw: redis.Redis) -> list[object]:
    return list(raw.keys("*listeners"))


def a_life(fleet: Fleet, hand: Hand, suffix: str = "a", **options: str) -> None:
    job_id = fleet.enqueue(Job("Add up", "demo.add", (1, 2), id=suffix, **options))  # type: ignore[arg-type]
    hand.completes(hand.claims(job_id), 3)


def test_a_life_is_told_line_by_line(cli: Cli, fleet: Fleet, hand: Hand, raw: redis.Redis) -> None:
    a_life(fleet, hand, "before")

    with heard(raw, lambda: a_life(fleet, hand)):
        result = cli("events", "tail", "-n", "3")

    assert (result.exit_code, result.stderr) == (0, "")
    assert [re.sub(r"^\d\d:\d\d:\d\d", "<clock>", line) for line in result.stdout.splitlines()] == [
        local_day(datetime.now(UTC)),
        "<clock>  enqueued     default.0.a",
        "<clock>  claimed      default.0.a",
        "<clock>  completed    default.0.a",
    ]


def test_json_has_an_object_a_line(cli: Cli, fleet: Fleet, hand: Hand, raw: redis.Redis) -> None:
    a_life(fleet, hand, "before")

    with heard(raw, lambda: a_life(fleet, hand)):
        result = cli("events", "tail", "--event", "completed", "-n", "1", "-o", "json")

    told = json.loads(result.stdout)
    assert (told.pop("at")[:3], told) == ("202", {"event": "completed", "id": "default.0.a"})


def test_only_the_queue_that_is_named_is_heard(cli: Cli, fleet: Fleet, hand: Hand, raw: redis.Redis) -> None:
    for queue in ("default", "mail"):
        a_life(fleet, hand, "before", queue=queue)

    def act() -> None:
        a_life(fleet, hand)
        a_life(fleet, hand, queue="mail")

    with heard(raw, act):
        result = cli("events", "tail", "--queue", "mail", "-n", "3", "-o", "ids")

    assert result.stdout.split() == ["mail.0.a"] * 3


def test_a_queue_that_comes_meanwhile_is_heard(
    cli: Cli, fleet: Fleet, hand: Hand, raw: redis.Redis, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("jobfleet.client._sync.events.LOOK_EVERY", 0.02)
    a_life(fleet, hand, "before")

    def act() -> None:
        a_life(fleet, hand, "first", queue="mail")
        wait_until(lambda: len(marks(raw)) == 2, why="the new queue is listened to")
        a_life(fleet, hand, "second", queue="mail")

    with heard(raw, act):
        result = cli("events", "tail", "--event", "completed", "-n", "1")

    assert "  mail.0." in result.stdout


def test_a_queue_that_is_not_there_is_told(cli: Cli, fleet: Fleet, hand: Hand) -> None:
    a_life(fleet, hand)

    result = cli("events", "tail", "--queue", "mial")

    assert (result.exit_code, result.stderr) == (3, "No queue 'mial'; there are: default.\n")


def test_every_event_of_the_scripts_can_be_asked_for() -> None:
    emitted = {word for name in names() for word in load(name).header.emits.replace(",", " ").split()} - {"-"}

    assert set(NAMES) == emitted
