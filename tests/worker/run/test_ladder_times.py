"""When the ladder does what, to the moment, on a clock that only the test moves; and which limits a run has."""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Callable
from math import inf
from typing import Any

import pytest

from jobfleet.clock import boottime
from jobfleet.errors import InvalidJob
from jobfleet.outcome import Cancelled, Interrupted, LeaseLost, TimedOut
from jobfleet.worker.ipc.lease_board import overdue
from jobfleet.worker.run.run import Stage
from jobfleet.worker.run.stop_ladder import limits_of
from tests.worker.run.stopping import ALL, SOFT, Entry, Hand, Stopping, Timed, handler_of, looking, plain

RAISED, TERMINATED, KILLED, ASKED = Stage.RAISED, Stage.TERMINATED, Stage.KILLED, Stage.ASKED

Make = Callable[..., Timed]


@pytest.fixture
def timed(monkeypatch: pytest.MonkeyPatch) -> Make:
    """Makes runs that share a clock."""
    hand = Hand()
    return lambda *args, **options: Timed(monkeypatch, hand, *args, **options)


def noted(at: float, stage: Stage) -> list[Entry]:
    return [(at, "noted", stage), (at, "asked", stage)]


@pytest.mark.parametrize(
    ("stages", "function", "options", "expected"),
    [
        (
            ALL, plain, {},
            [
                *noted(0, RAISED), (4, "asked", RAISED), *noted(8, TERMINATED), *noted(16, KILLED),
                (24, "condemned", Cancelled("ann")),
            ],
        ),
        (
            ALL, looking, {},
            [
                (0, "noted", ASKED), *noted(3, RAISED), (7, "asked", RAISED), *noted(11, TERMINATED),
                *noted(19, KILLED), (27, "condemned", Cancelled("ann")),
            ],
        ),
        (
            SOFT, looking, {"cancel_grace": 0.0},
            [*noted(0, RAISED), (4, "asked", RAISED), (8, "condemned", Cancelled("ann"))],
        ),
        (
            (TERMINATED, KILLED), plain, {},
            [*noted(0, TERMINATED), *noted(8, KILLED), (16, "condemned", Cancelled("ann"))],
        ),
        (
            (TERMINATED, KILLED), looking, {},
            [(0, "noted", ASKED), *noted(3, TERMINATED), *noted(11, KILLED), (19, "condemned", Cancelled("ann"))],
        ),
    ],
)  # fmt: skip
def test_a_cancelled_run_reaches_each_stage_after_the_grace_of_the_one_before(
    timed: Make, stages: tuple[Stage, ...], function: Callable[..., Any], options: dict[str, Any], expected: list[Entry]
) -> None:
    one = timed(stages, function, **options)

    one.ladder.stop(one.run, Cancelled("ann"))
    one.after(100)

    assert one.trace == expected
    assert (one.hand.pending(), one.run.stop.timer, one.run.stop.next_at) == ([], None, inf)
    assert (one.run.stop.is_condemned, one.ladder.condemned) == (True, {one.run.key})


@pytest.mark.parametrize("why", [TimedOut(1.0), LeaseLost(), Interrupted()])
def test_any_other_reason_climbs_at_once_and_stops_at_the_last_stage(timed: Make, why: Any) -> None:
    one = timed(ALL, looking)

    one.ladder.stop(one.run, why)
    one.after(100)

    asked = [(0, "asked", RAISED), (4, "asked", RAISED), (8, "asked", TERMINATED), (16, "asked", KILLED)]
    assert one.trace == asked
    assert (one.hand.pending(), one.run.stop.next_at, one.ladder.condemned) == ([], inf, set())


@pytest.mark.parametrize(
    ("stages", "limits", "expected"),
    [
        (
            ALL, (2.0, 0.0),
            [(2, "asked", RAISED), (6, "asked", RAISED), (10, "asked", TERMINATED), (18, "asked", KILLED)],
        ),
        (
            ALL, (2.0, 12.0),
            [
                (2, "asked", RAISED), (6, "asked", RAISED), (10, "asked", TERMINATED), (12, "asked", KILLED),
                (20, "condemned", TimedOut(12.0)),
            ],
        ),
        (ALL, (0.0, 12.0), [(12, "asked", KILLED), (20, "condemned", TimedOut(12.0))]),
        (ALL, (12.0, 12.0), [(12, "asked", KILLED), (20, "condemned", TimedOut(12.0))]),
        (SOFT, (0.0, 12.0), [(12, "asked", RAISED), (12.25, "condemned", TimedOut(12.0))]),
        (
            SOFT, (2.0, 12.0),
            [(2, "asked", RAISED), (6, "asked", RAISED), (12, "asked", RAISED), (12.25, "condemned", TimedOut(12.0))],
        ),
        (SOFT, (1.0, 0.0), [(1, "asked", RAISED), (5, "asked", RAISED)]),
        (SOFT, (0.0, 1.0), [(1, "asked", RAISED), (1.25, "condemned", TimedOut(1.0))]),
        (ALL, (0.0, 0.0), []),
    ],
)  # fmt: skip
def test_a_run_is_told_at_its_soft_limit_and_ended_at_its_hard_one(
    timed: Make, stages: tuple[Stage, ...], limits: tuple[float, float], expected: list[Entry]
) -> None:
    one = timed(stages, looking)

    one.ladder.limit(one.run, *limits)
    one.after(100)

    assert one.trace == expected
    assert one.hand.pending() == []
    first = TimedOut(limits[0] if 0 < limits[0] < (limits[1] or inf) else limits[1])
    assert one.run.stop.interruption == (first if expected else None)


@pytest.mark.parametrize(
    ("limits", "pending", "board", "ats"),
    [
        ((2.0, 12.0), [1002.0], 12.0, (1002.0, 1012.0)),
        ((0.0, 12.0), [1012.0], 12.0, (inf, 1012.0)),
        ((2.0, 0.0), [1002.0], None, (1002.0, inf)),
        ((1.0, 0.0), [1001.0], None, (1001.0, inf)),
        ((0.0, 1.0), [1001.0], 1.0, (inf, 1001.0)),
        ((0.0, 0.0), [], None, (inf, inf)),
    ],
)
def test_limits_are_kept_from_the_start_by_one_timer(
    timed: Make, limits: tuple[float, float], pending: list[float], board: float | None, ats: tuple[float, float]
) -> None:
    one = timed(ALL)

    one.ladder.limit(one.run, *limits)

    assert (one.hand.pending(), one.on_board(), one.run.stop.limits) == (pending, board, limits)
    assert (one.run.stop.soft_at, one.run.stop.hard_at, one.run.stop.has_limits) == (*ats, True)
    assert (one.run.stop.timer is None) is (not pending)


@pytest.mark.parametrize(
    ("limits", "moved"), [((2.0, 12.0), (7.0, 17.0)), ((2.0, 0.0), (7.0, 0.0)), ((0.0, 12.0), (0.0, 17.0))]
)
def test_more_time_moves_the_limits_that_there_are(
    timed: Make, limits: tuple[float, float], moved: tuple[float, float]
) -> None:
    one = timed(ALL)
    one.ladder.limit(one.run, *limits)
    one.after(1)

    one.ladder.extend(one.run, 5.0)

    soft, hard = moved
    assert (one.run.stop.limits, one.run.stop.soft_at, one.run.stop.hard_at) == (
        moved, 1000 + soft if soft else inf, 1000 + hard if hard else inf,
    )  # fmt: skip
    assert one.on_board() == (hard or None)
    assert overdue(one.board._memory, 2000.0) == ({one.run.key: hard} if hard else {})
    one.after(min(limit for limit in limits if limit))
    assert one.trace == [], "the timer came too early"
    one.after(min(limit for limit in moved if limit))
    assert one.trace == [(soft or hard, "asked", RAISED if soft else KILLED)]
    assert one.run.stop.interruption == TimedOut(soft or hard)


def test_a_run_is_past_its_hard_limit_from_that_moment_on(timed: Make) -> None:
    one, free = timed(ALL), timed(ALL)
    one.ladder.limit(one.run, 0.0, 12.0)

    one.hand.now = 1011.875
    assert not one.ladder.is_past(one.run)
    one.hand.now = 1012.0
    assert one.ladder.is_past(one.run)
    free.ladder.limit(free.run, 1.0, 0.0)
    one.hand.now = 2000.0
    assert not free.ladder.is_past(free.run)


@pytest.mark.parametrize(("stages", "until"), [(ALL, 20.0), (SOFT, 12.25)])
def test_the_board_gives_this_process_the_time_that_it_takes_itself(
    timed: Make, stages: tuple[Stage, ...], until: float
) -> None:
    one = timed(stages)
    one.ladder.limit(one.run, 0.0, 12.0)

    one.after(12)
    assert one.on_board() == until
    assert overdue(one.board._memory, 1100.0) == {one.run.key: 12.0}
    one.ladder.over(one.run)

    assert (one.on_board(), one.run.stop.timer, one.hand.pending()) == (None, None, [])


@pytest.mark.parametrize(("limits", "board"), [((2.0, 0.0), 40.0), ((1.0, 0.0), 40.0), ((0.0, 1.0), None)])
def test_the_end_of_a_run_takes_back_only_a_limit_that_was_posted(
    timed: Make, limits: tuple[float, float], board: float | None
) -> None:
    one = timed(ALL)
    one.ladder.limit(one.run, *limits)
    one.board.limit(one.run.lease.place, 1040.0, 40.0)  # what somebody else has written there

    one.ladder.over(one.run)

    assert (one.on_board(), one.run.stop.timer, one.hand.pending()) == (board, None, [])


@pytest.mark.parametrize("why", [Cancelled("ann"), Interrupted()])
def test_a_run_whose_code_has_ended_is_marked_and_not_interrupted(timed: Make, why: Cancelled | Interrupted) -> None:
    one = timed(ALL)
    one.ladder.limit(one.run, 2.0, 9.0)
    one.ladder.over(one.run)

    one.ladder.stop(one.run, why)

    assert one.run.stop.interruption == why
    assert (one.executor.asked, one.run.stop.stage, one.hand.pending()) == ([], 0, [])


def test_who_is_told_twice_is_told_once(timed: Make) -> None:
    one = timed(ALL, looking)
    one.ladder.limit(one.run, 2.0, 0.0)
    one.after(3)

    one.ladder.stop(one.run, Cancelled("ann"))
    one.ladder.stop(one.run, Cancelled("bob"))
    one.ladder.stop(one.run, Interrupted())
    assert one.hand.pending() == [1006.0]
    one.after(100)

    assert one.trace == [
        (2, "asked", RAISED), (3, "noted", RAISED), (6, "asked", RAISED), *noted(10, TERMINATED), *noted(18, KILLED),
        (26, "condemned", Cancelled("ann")),
    ]  # fmt: skip
    assert one.run.stop.interruption == TimedOut(2.0)


def test_one_for_whom_no_stage_is_left_has_a_last_grace_when_it_is_cancelled(timed: Make) -> None:
    one = timed(SOFT)
    one.ladder.stop(one.run, Interrupted())
    one.after(50)
    assert (one.run.stop.next_at, one.hand.pending()) == (inf, [])

    one.ladder.stop(one.run, Cancelled("ann"))
    one.after(100)

    assert one.trace == [
        (0, "asked", RAISED),
        (4, "asked", RAISED),
        (50, "noted", RAISED),
        (58, "condemned", Cancelled("ann")),
    ]


def test_one_that_was_asked_is_interrupted_at_once_when_its_worker_stops(timed: Make) -> None:
    one = timed(ALL, looking)
    one.ladder.stop(one.run, Cancelled("ann"))
    one.after(1)

    one.ladder.stop(one.run, Interrupted())
    one.after(5)

    assert one.trace == [(0, "noted", ASKED), *noted(1, RAISED), (5, "asked", RAISED)]
    assert one.run.stop.interruption == Cancelled("ann"), "the first reason stands"


def test_one_that_was_interrupted_is_not_interrupted_again_by_another_reason(timed: Make) -> None:
    one = timed(ALL)
    one.ladder.stop(one.run, Interrupted())
    one.after(1)

    one.ladder.stop(one.run, LeaseLost())

    assert one.trace == [(0, "asked", RAISED)]
    assert one.hand.pending() == [1004.0]


def test_one_that_has_not_started_only_remembers_why(timed: Make) -> None:
    one = timed(ALL, looking)
    one.run.executor = None

    one.ladder.stop(one.run, Cancelled("ann"))

    assert (one.run.stop.interruption, one.run.stop.cancel_by, one.run.stop.stage) == (Cancelled("ann"), "ann", 0)
    assert (one.trace, one.hand.pending(), one.ladder.kill([one.run])) == ([], [], False)


@pytest.mark.parametrize(
    ("late", "then"),
    [
        (0.0, (0.0, "condemned", TimedOut(12.0))),
        (0.125, (0.125, "condemned", TimedOut(12.0))),
        (0.25, (0.25, "condemned", TimedOut(12.0))),
        (0.375, (0.625, "condemned", TimedOut(12.0))),
        (5.0, (5.25, "condemned", TimedOut(12.0))),
    ],
)
def test_a_loop_that_stood_still_when_the_grace_was_over_gives_a_quarter_of_a_second_more(
    timed: Make, late: float, then: Entry
) -> None:
    one = timed(SOFT)
    one.ladder.limit(one.run, 0.0, 12.0)
    one.after(12)
    one.hand.now = 1012.25 + late  # nothing turned

    one.after(12.25 + late)
    one.after(100)

    assert one.trace == [(12, "asked", RAISED), (12.25 + then[0], *then[1:])]


def test_a_timer_that_comes_before_its_time_does_nothing(timed: Make) -> None:
    one, cancelled = timed(SOFT), timed(ALL)
    one.ladder.limit(one.run, 0.0, 12.0)
    one.after(12)
    one.ladder._turn(one.run)
    cancelled.ladder.stop(cancelled.run, Interrupted())
    cancelled.ladder._turn(cancelled.run)

    assert one.trace == cancelled.trace == [(12, "asked", RAISED)]


def test_a_condemned_run_is_left_alone(timed: Make) -> None:
    one = timed(SOFT)
    one.ladder.limit(one.run, 0.0, 12.0)
    one.after(20)
    before = list(one.trace)

    one.ladder.stop(one.run, Cancelled("ann"))
    one.after(100)

    assert one.trace == [*before, (20, "noted", RAISED)]
    assert one.hand.pending() == []


@pytest.mark.parametrize("can_end", [True, False])
def test_what_cannot_be_stopped_is_logged_with_what_becomes_of_it(
    timed: Make, can_end: bool, caplog: pytest.LogCaptureFixture
) -> None:
    one = timed(SOFT, can_end=can_end)
    one.run.header = {"function": "app.mail"}

    one.ladder.stop(one.run, Cancelled("ann"))
    with caplog.at_level(logging.ERROR):
        one.after(100)

    what = "its process is to end" if can_end else "it runs on: it shares its process"
    assert caplog.messages == [f"job.unstoppable job_id=default.0.a function=app.mail {what}"]
    assert one.ladder.condemned == ({one.run.key} if can_end else set())
    assert (one.run.stop.is_condemned, one.run.stop.next_at, one.hand.pending()) == (can_end, inf, [])


@pytest.mark.parametrize(
    ("stages", "is_over", "is_killed"),
    [(ALL, False, True), ((KILLED,), False, True), (SOFT, False, False), (ALL, True, False)],
)
def test_what_can_be_killed_is_killed_before_its_job_is_given_back(
    timed: Make, stages: tuple[Stage, ...], is_over: bool, is_killed: bool
) -> None:
    one, soft = timed(stages), timed(SOFT)
    one.run.ending.is_over = is_over

    answer = soft.ladder.kill([soft.run, one.run, soft.run])

    assert answer is is_killed
    assert (one.trace, one.run.stop.stage) == ([(0, "asked", KILLED)] if is_killed else [], KILLED if is_killed else 0)
    assert soft.trace == []


def test_a_run_whose_function_is_unknown_cannot_look(timed: Make) -> None:
    one = timed(SOFT)
    one.run.handler = None

    one.ladder.stop(one.run, Cancelled("ann"))

    assert one.trace == noted(0, RAISED)


async def test_time_in_which_the_machine_is_suspended_is_no_time_of_a_run(monkeypatch: pytest.MonkeyPatch) -> None:
    one = Stopping(ALL)
    one.board.started(one.run.lease.place)
    one.ladder.limit(one.run, 30.0, 60.0)

    monkeypatch.setattr(time, "clock_gettime", lambda clock, tell=time.clock_gettime: tell(clock) + 3600.0)

    assert boottime() > one.run.stop.hard_at
    assert not one.ladder.is_past(one.run)
    assert overdue(one.board._memory, time.monotonic()) == {}
    one.ladder.over(one.run)


async def test_another_thread_may_ask_for_more_time_until_the_run_is_to_stop() -> None:
    one = Stopping(SOFT)
    one.board.started(one.run.lease.place)
    one.ladder.limit(one.run, 1.0, 2.0)
    soft, hard = one.run.stop.soft_at, one.run.stop.hard_at

    await asyncio.to_thread(one.ladder.extend, one.run, 30.0)

    assert one.run.stop.limits == (31.0, 32.0)
    assert one.run.stop.soft_at - soft == pytest.approx(30.0)
    assert one.run.stop.hard_at - hard == pytest.approx(30.0)
    one.run.stop.interrupt(Interrupted())
    one.ladder.extend(one.run, 30.0)
    assert one.run.stop.limits == (31.0, 32.0), "one that is to stop gets no more"
    one.ladder.over(one.run)


@pytest.mark.parametrize(
    ("own", "job", "limits"),
    [
        ({}, {}, (0.0, 0.0)),
        ({"timeout": 5}, {}, (5.0, 15.0)),
        ({"timeout": 5, "hard_timeout": 6}, {}, (5.0, 6.0)),
        ({"timeout": 5, "hard_timeout": 0}, {}, (5.0, 0.0)),
        ({"hard_timeout": 6}, {}, (0.0, 6.0)),
        ({}, {"timeout": 2}, (2.0, 12.0)),
        ({}, {"hard_timeout": 2}, (0.0, 2.0)),
        ({"timeout": 5}, {"timeout": 0, "hard_timeout": 0}, (0.0, 0.0)),
        ({"timeout": 5, "hard_timeout": 6}, {"timeout": 60}, (60.0, 70.0)),
        ({"timeout": 5, "hard_timeout": 90}, {"timeout": 60}, (60.0, 90.0)),
        ({"timeout": 5, "hard_timeout": 60}, {"timeout": 60}, (60.0, 60.0)),
        ({"timeout": 5}, {"hard_timeout": 3}, (5.0, 3.0)),
    ],
)
def test_the_limits_of_the_job_come_before_those_of_its_function(
    own: dict[str, float], job: dict[str, int], limits: tuple[float, float]
) -> None:
    header = {name: value * 1_000_000 for name, value in job.items()}

    assert limits_of(header, handler_of(plain, **own), 10.0) == limits


@pytest.mark.parametrize("bad", ["soon", -1, [], float("nan"), 10**40])
@pytest.mark.parametrize("name", ["timeout", "hard_timeout"])
def test_a_limit_that_is_no_time_is_refused(name: str, bad: Any) -> None:
    with pytest.raises((InvalidJob, TypeError)):
        limits_of({name: bad}, handler_of(plain), 10.0)
