"""`fleet.history`: what may be asked, and what it answers where nothing was sampled."""

from __future__ import annotations

from collections import defaultdict
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
import redis

from jobfleet import Fleet, UnknownQueue
from jobfleet.errors import ConfigError, InvalidJob
from jobfleet.operations.history import read, window
from jobfleet.operations.operation import drive_blocking
from jobfleet.samples import (
    COARSE,
    COMPLETED,
    FAILED,
    FINE,
    FIRST_GAUGE,
    function_series,
    pack,
    pack_mark,
    queue_series,
)
from tests.support.each import each
from tests.support.sampled import store_samples

NOW = 1_799_971_200
"""Seconds since 1970."""


@each(
    "asked, error, text",
    [
        ({"queue": "mail", "function": "f"}, InvalidJob, "Give a queue or a function, not both"),
        ({"queue": "no queue"}, InvalidJob, "no queue"),
        ({"function": ""}, InvalidJob, "function is ''; give the registered name of a function."),
        ({"since": "soon"}, InvalidJob, "since is 'soon'; give seconds"),
        ({"since": 5}, InvalidJob, "since is 5; the fleet is sampled every 10 s: give that or more."),
        ({"since": datetime(2200, 1, 1, tzinfo=UTC)}, InvalidJob, "which is not in the past."),
        ({"since": "49h"}, ConfigError, "Without an archive the history goes back 48 hours"),
        ({"since": "91d"}, ConfigError, "The history goes back 90 days, not 91: ask for less."),
        ({"step": "5s"}, ConfigError, "step is '5s', but for the last 1 h, samples are kept every 10 s"),
        ({"step": 15}, ConfigError, "give a multiple of 10 s."),
        ({"since": "3h", "step": 30}, ConfigError, "for the last 3 h, samples are kept every 60 s"),
    ],
)
def test_what_cannot_be_answered_is_refused_with_the_reason(
    fleet: Fleet, asked: dict[str, Any], error: type[Exception], text: str
) -> None:
    with pytest.raises(error) as refusal:
        fleet.history(**asked)

    assert text in str(refusal.value)


def test_an_unknown_queue_and_an_unknown_function_are_named(fleet: Fleet) -> None:
    with pytest.raises(UnknownQueue, match="No queue 'mial'"):
        fleet.history("mial")
    with pytest.raises(InvalidJob, match=r"No worker has published 'app\.sned', and it has not run in this time"):
        fleet.history(function="app.sned")


def test_a_fleet_without_a_sample_has_a_gap_in_each_step(fleet: Fleet) -> None:
    found = fleet.history(since="10m")

    assert (len(found.points), found.step) == (60, timedelta(seconds=10))
    assert {(point.completed, point.waiting, point.run) for point in found.points} == {(None, None, None)}
    assert (found.total("completed"), found.wait, found.run, found.deploys) == (None, None, None, ())


@each("since, step", [("10s", 10), ("10m", 10), ("1h", 60), ("2h", 120), ("3h", 300), ("24h", 1800), ("48h", 3600)])
def test_the_default_step_divides_the_time_into_at_most_sixty(fleet: Fleet, since: str, step: int) -> None:
    assert window(fleet.context, None, None, since, None).step == step


@each("since", [1800, 1800.0, "1800", "30m", "0.5h", timedelta(minutes=30)])
@each("step", [60, 60.0, "1m", timedelta(minutes=1)])
def test_durations_may_have_any_form(fleet: Fleet, since: Any, step: Any) -> None:
    asked = window(fleet.context, "mail", None, since, step)

    assert (asked.length, asked.step) == (1800, 60)
    assert fleet.history(since=since, step=step).step == timedelta(minutes=1)


def stored(fleet: Fleet, raw: redis.Redis, function: str, begin: int) -> None:
    """Store 48 hours of minutes, and 2 hours of steps of ten seconds."""
    values: defaultdict[str, dict[Any, Any]] = defaultdict(lambda: {"": b"", function_series(function): b""})
    for unit, seconds in ((COARSE, 48 * 3600), (FINE, 2 * 3600)):
        for index in range((begin - seconds) // unit.step, begin // unit.step):
            part, step = unit.place(index)
            values[part][""] += pack_mark(step, 0)
            values[part][function_series(function)] += pack(step, 0, {COMPLETED: unit.step})
    raw.hset(fleet.context.keys.samples, "last", begin // FINE.step - 1)
    for part, series in values.items():
        raw.hset(fleet.context.keys.samples_of(part), mapping=series)


def test_two_days_are_read_with_few_commands_and_all_of_them_counted_once(fleet: Fleet, raw: redis.Redis) -> None:
    stored(fleet, raw, "app.send", NOW)
    sent: list[int] = []

    def counted(operation: Any) -> Any:
        answers = None
        try:
            while True:
                calls = operation.send(answers)
                sent.append(len(calls))
                answers = fleet.store.run_many(calls)
        except StopIteration as end:
            return end.value

    asked: dict[str, Any] = {"since": "48h", "step": None, "now_us": NOW * 1_000_000}
    found = counted(read(fleet.context, None, "app.send", **asked))

    assert [point.completed for point in found.points] == [3600] * 48
    assert sent == [1, 12 + 1]
    two = drive_blocking(fleet.store, read(fleet.context, None, "app.send", **{**asked, "since": "2h", "step": 30}))
    assert [point.completed for point in two.points] == [30] * 240


def calls_of(raw: redis.Redis) -> int:
    """The number of scripts that the server has run since its statistics were reset."""
    return sum(row["calls"] for name, row in raw.info("commandstats").items() if "eval" in name)


def test_the_last_hour_of_many_queues_costs_as_much_as_that_of_one(fleet: Fleet, raw: redis.Redis) -> None:
    for ago in (600, 300, 290):
        point = {COMPLETED: 3, FAILED: 1, FIRST_GAUGE: ago}
        store_samples(raw, fleet, {queue_series("mail"): point, queue_series("other"): {}}, ago=ago)
    names = ["mail", "other", *(f"empty-{number}" for number in range(60))]
    fleet.trends(["mail"])  # loads the scripts
    raw.config_resetstat()

    (alone,) = fleet.trends(["mail"])
    single = calls_of(raw)
    raw.config_resetstat()
    every = fleet.trends(names)

    assert calls_of(raw) == single <= 16
    assert [one.queue for one in every] == names[:50]
    assert every[0] == alone
    assert 55 <= len(alone.ended) == len(alone.waiting) <= 61
    assert sum(one or 0 for one in alone.ended) == 12
    assert next(one for one in alone.waiting if one) == 600
    assert {one for one in every[1].ended if one is not None} == {0}
    assert [one is None for one in every[2].ended] == [one is None for one in alone.ended]


def test_no_queue_has_no_last_hour(fleet: Fleet) -> None:
    assert fleet.trends([]) == []
