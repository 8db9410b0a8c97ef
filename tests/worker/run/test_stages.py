"""The ladder itself: which stages an executor is asked for, one after the other, and when it gives up."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable
from typing import Any

import pytest

from jobfleet.clock import boottime
from jobfleet.errors import InvalidJob
from jobfleet.outcome import Cancelled, Interrupted, LeaseLost, TimedOut
from jobfleet.worker.ipc.lease_board import overdue
from jobfleet.worker.run.interfaces import Verdict
from jobfleet.worker.run.run import Interruption, Stage
from jobfleet.worker.run.stop_ladder import limits_of
from tests.support.waiting import await_until
from tests.worker.run.stopping import ALL, SOFT, Stopping, handler_of, looking, plain


@pytest.mark.parametrize(
    ("stages", "asked"),
    [
        (SOFT, [Stage.RAISED, Stage.RAISED]),
        (ALL, [Stage.RAISED, Stage.RAISED, Stage.TERMINATED, Stage.KILLED]),
        ((Stage.TERMINATED, Stage.KILLED), [Stage.TERMINATED, Stage.KILLED]),
    ],
)
@pytest.mark.parametrize("function", [plain, looking])
async def test_a_cancelled_run_climbs_as_far_as_its_executor_goes_and_is_condemned(
    stages: tuple[Stage, ...], asked: list[Stage], function: Callable[..., Any]
) -> None:
    one = Stopping(stages, function)

    one.ladder.stop(one.run, Cancelled("ann"))
    await one.settled()

    first = [Stage.ASKED] if function is looking else []
    assert one.executor.asked == asked
    assert one.noted == [*first, *dict.fromkeys(asked)]
    assert one.condemned == [Cancelled("ann")]


@pytest.mark.parametrize("why", [TimedOut(1.0), LeaseLost(), Interrupted()])
@pytest.mark.parametrize("function", [plain, looking])
async def test_all_other_reasons_interrupt_at_once_and_condemn_nobody(
    why: Interruption, function: Callable[..., Any]
) -> None:
    one = Stopping(ALL, function)

    one.ladder.stop(one.run, why)

    assert one.executor.asked == [Stage.RAISED]
    await one.settled()
    assert one.executor.asked == [Stage.RAISED, Stage.RAISED, Stage.TERMINATED, Stage.KILLED]
    assert (one.condemned, one.noted) == ([], [])


async def test_a_run_that_ends_is_left_alone() -> None:
    one = Stopping(ALL, grace=30)

    one.ladder.stop(one.run, Cancelled("ann"))
    one.ladder.over(one.run)

    assert (one.run.stop.timer, one.executor.asked) == (None, [Stage.RAISED])


async def test_one_that_was_only_asked_is_interrupted_when_its_worker_stops() -> None:
    one = Stopping(SOFT, looking, grace=30)
    one.ladder.stop(one.run, Cancelled("ann"))
    assert one.executor.asked == []

    one.ladder.stop(one.run, Interrupted())

    assert one.executor.asked == [Stage.RAISED]
    assert one.run.stop.interruption == Cancelled("ann"), "the first reason stands"
    one.ladder.over(one.run)


async def test_one_that_timed_out_and_heeds_nothing_can_still_be_cancelled() -> None:
    one = Stopping(SOFT)
    one.ladder.stop(one.run, TimedOut(1.0))
    await one.settled()
    assert one.condemned == []

    one.ladder.stop(one.run, Cancelled("ann"))
    await one.settled()

    assert (one.condemned, one.noted) == ([Cancelled("ann")], [Stage.RAISED])


@pytest.mark.parametrize(
    ("stages", "soft", "asked", "verdict"),
    [
        (SOFT, 0.0, [Stage.RAISED], [TimedOut(0.1)]),
        (SOFT, 0.05, [Stage.RAISED, Stage.RAISED], [TimedOut(0.1)]),
        (ALL, 0.0, [Stage.KILLED], [TimedOut(0.1)]),
        (ALL, 0.05, [Stage.RAISED, Stage.KILLED], [TimedOut(0.1)]),
    ],
)
async def test_at_its_hard_limit_a_run_is_killed_or_condemned(
    stages: tuple[Stage, ...], soft: float, asked: list[Stage], verdict: list[Verdict]
) -> None:
    one = Stopping(stages, grace=0.5)

    one.ladder.limit(one.run, soft, 0.1)
    await one.settled()

    assert (one.executor.asked, one.condemned) == (asked, verdict)
    assert one.ladder.is_past(one.run)


@pytest.mark.parametrize(("stages", "least"), [(SOFT, 0.2), (ALL, 30.0)])
async def test_who_acts_on_a_hard_limit_says_so_on_the_board(stages: tuple[Stage, ...], least: float) -> None:
    one = Stopping(stages, grace=30.0)
    one.board.started(one.run.lease.place)
    one.ladder.limit(one.run, 0.0, 0.1)

    async def has_acted() -> bool:
        return bool(one.executor.asked)

    await await_until(has_acted, why="it was stopped")

    assert overdue(one.board._memory, one.run.stop.hard_at + least) == {}
    assert overdue(one.board._memory, one.run.stop.next_at + 0.2) == {one.run.key: pytest.approx(0.1)}
    one.ladder.over(one.run)
    assert overdue(one.board._memory, 10.0**9) == {}


async def test_a_loop_that_stood_still_gives_an_interruption_time_to_be_heard() -> None:
    one = Stopping(SOFT)
    one.ladder.limit(one.run, 0.0, 60.0)
    one.run.stop.hard_at = 0.0
    one.ladder._turn(one.run)
    assert one.executor.asked == [Stage.RAISED]

    one.run.stop.next_at = time.monotonic() - 10.0
    one.ladder._turn(one.run)
    assert one.condemned == []
    await one.settled()

    assert one.condemned == [TimedOut(60.0)]


async def test_time_in_which_the_machine_is_suspended_is_no_time_of_a_run(monkeypatch: pytest.MonkeyPatch) -> None:
    one = Stopping(ALL)
    one.board.started(one.run.lease.place)
    one.ladder.limit(one.run, 30.0, 60.0)

    monkeypatch.setattr(time, "clock_gettime", lambda clock, tell=time.clock_gettime: tell(clock) + 3600.0)

    assert boottime() > one.run.stop.hard_at
    assert not one.ladder.is_past(one.run)
    assert overdue(one.board._memory, time.monotonic()) == {}
    one.ladder.over(one.run)


async def test_more_time_moves_both_limits_also_on_the_board() -> None:
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
