"""The gates of a child, with a store that answers at once."""

from __future__ import annotations

import asyncio
import re
from collections.abc import Sequence
from types import SimpleNamespace
from typing import Any, cast

import pytest

from jobfleet.errors import ScriptContractError
from jobfleet.functions.limiting import Breaker, Gates, Limit
from jobfleet.model.signals import Suspended
from jobfleet.outcome import Broken, Cancelled, Refused, TimedOut
from jobfleet.store.call import Call
from jobfleet.store.calls.limits import GateSeen, Passed, Room
from jobfleet.store.keys import Keyspace
from jobfleet.worker.child.gates import ChildGates
from jobfleet.worker.run.run import NotStarted

KEYS = Keyspace("jf")
NEVER_IN_TIME = 1
"""The period of a rate, µs, for which every answer comes too late."""


class Answering:
    """Lets every run pass; the limit has these periods, one after the other, and then none."""

    def __init__(self, *periods: int, cannot_fit: int = 0) -> None:
        self.periods = list(periods)
        self.outcomes: list[object] = []
        self.cannot_fit = cannot_fit
        self.trips: list[list[str]] = []
        self.sources: list[list[str]] = []

    async def run_many(self, calls: Sequence[Call[Any]]) -> list[object]:
        """Answer the calls of a trip."""
        self.trips.append([call.script.name for call in calls])
        self.sources += [re.findall(r"-- after (.*)", call.script.source.decode()) for call in calls]
        return [await self.run(call) for call in calls]

    async def run(self, call: Call[Any]) -> object:
        """Answer."""
        if call.script.name == "leave_gates":
            self.outcomes += [word for word in call.args if word in ("ok", "fail", "none", "unused")]
            return []
        if self.cannot_fit:
            self.cannot_fit -= 1
            return Passed(1, ("limit:x",), frozenset({0}), {"limit:x": Room(-1, 5, 0, 0, 1_000_000)})
        period = self.periods.pop(0) if self.periods else 0
        return Passed(1, ("",), frozenset(), {"limit:x": Room(-1, -1, 0, 0, period)})


class Refusing(Answering):
    """Fails each call that names a damaged gate; lets every other run pass."""

    def __init__(self, *damaged: str) -> None:
        super().__init__()
        self.damaged = set(damaged)

    async def run(self, call: Call[Any]) -> object:
        """Answer, or fail."""
        named = [word for word in call.args if isinstance(word, str) and word.startswith(("limit:", "breaker:"))]
        if self.damaged & set(named):
            return ScriptContractError("pass_gates: attempt to compare number with nil")
        if call.script.name == "leave_gates":
            return await super().run(call)
        if call.script.name == "gates":
            return 1, [GateSeen(str(call.args[4]), {}, 0, ())]
        runs = sum(str(word).startswith("mail.0.") for word in call.args)
        return Passed(1, ("",) * runs, frozenset(), {name: Room(-1, -1, 0, 0, 0) for name in named})


def run_of(suffix: str) -> Any:
    return SimpleNamespace(
        id=f"mail.0.{suffix}", token=7, key=suffix, lane=SimpleNamespace(queue="mail"), grant=SimpleNamespace(meta=""),
        stop=SimpleNamespace(has_limits=False, interruption=None), passage=None, header={},
    )  # fmt: skip


def made(store: Answering) -> ChildGates:
    ladder: Any = None
    answering: Any = store
    return ChildGates(answering, KEYS, child="c", slots=4, ladder=ladder)


def handler_of(cost: int, limit: str = "x", *more: str) -> Any:
    limits = (Limit(limit, cost=cost), *map(Limit, more))
    function = SimpleNamespace(name=f"f-{limit}", gates=Gates(limits), parameters=())
    return SimpleNamespace(function=function)


async def passed(gates: ChildGates, run: Any, cost: int = 1) -> object:
    outcome = await asyncio.wait_for(gates.passed(run, handler_of(cost), (), {}), 10)
    if run.passage is not None:
        run.passage.is_called = True
    return outcome


async def test_a_run_that_asks_again_when_a_trip_ends_is_answered() -> None:
    store = Answering(NEVER_IN_TIME, NEVER_IN_TIME)
    gates = made(store)

    assert await passed(gates, run_of("a")) is None

    await gates.close()
    assert store.outcomes == ["unused", "unused"]


@pytest.mark.parametrize("error", [Suspended("s#1", "", 9), BaseExceptionGroup("all", [Suspended("s#1", "", 9)])])
async def test_a_run_that_ends_to_wait_says_nothing_about_the_health_of_its_function(error: BaseException) -> None:
    store, run, ends = Answering(), run_of("a"), list[object]()
    gates = made(store)
    await passed(gates, run)

    gates.watched(run, lambda value, error: ends.append(error))(None, error)

    await gates.close()
    assert ends == [error]
    assert store.outcomes == ["none"]


@pytest.mark.parametrize(
    ("error", "outcome"),
    [(asyncio.CancelledError(), "fail"), (ValueError("it caught the interruption"), "fail"), (None, "ok")],
)
async def test_a_time_limit_counts_as_a_failure_unless_the_run_returns_in_spite_of_it(
    error: BaseException | None, outcome: str
) -> None:
    store, run = Answering(), run_of("a")
    gates = made(store)
    await passed(gates, run)
    run.stop.interruption = TimedOut(0.3)

    gates.watched(run, lambda value, error: None)(None, error)

    await gates.close()
    assert store.outcomes == [outcome]


async def test_a_cancelled_run_does_not_count() -> None:
    store, run = Answering(), run_of("a")
    gates = made(store)
    await passed(gates, run)
    run.stop.interruption = Cancelled("ann")

    gates.watched(run, lambda value, error: None)(None, asyncio.CancelledError())

    await gates.close()
    assert store.outcomes == ["none"]


@pytest.mark.parametrize("turns", range(1, 4))
async def test_a_run_that_is_stopped_while_it_asks_gives_back_what_it_gets(turns: int) -> None:
    store = Answering()
    gates = made(store)
    asking = asyncio.create_task(gates.passed(run_of("a"), handler_of(1), (), {}))
    for _ in range(turns):
        await asyncio.sleep(0)

    asking.cancel()
    (outcome,) = await asyncio.gather(asking, return_exceptions=True)

    await gates.close()
    assert isinstance(outcome, asyncio.CancelledError)
    assert store.outcomes == ["unused"]


async def test_a_cost_that_can_never_fit_does_not_stop_the_other_jobs_of_its_function() -> None:
    gates = made(Answering(cannot_fit=1))

    outcome = await passed(gates, run_of("a"), cost=9)

    assert isinstance(outcome, Broken)
    assert outcome.reason.startswith("its cost is 9, which is more than limit 'x' allows in a whole period")
    assert gates.shares() == {}
    await gates.close()


async def test_what_has_ended_counts_before_the_next_run_passes() -> None:
    store, first, ends = Answering(), run_of("a"), list[object]()
    gates = made(store)
    await passed(gates, first)

    gates.watched(first, lambda value, error: ends.append(error))(None, ValueError("it fails"))
    await gates.passed(run_of("b"), handler_of(1), (), {})

    assert store.trips == [["pass_gates"], ["leave_gates", "pass_gates"]]
    assert (store.sources[-2:], store.outcomes) == ([[], ["leave_gates"]], ["fail"]), "none may overtake the other"
    await gates.close()


async def test_a_gate_that_cannot_be_read_holds_back_only_the_runs_that_need_it(
    caplog: pytest.LogCaptureFixture,
) -> None:
    store = Refusing("limit:bad")
    gates = made(store)
    needs_both, needs_good, needs_bad = handler_of(1, "good", "bad"), handler_of(1, "good"), handler_of(1, "bad")

    first = await asyncio.gather(
        gates.passed(run_of("a"), needs_both, (), {}),
        gates.passed(run_of("b"), needs_good, (), {}),
        gates.passed(run_of("c"), needs_bad, (), {}),
    )
    then = await asyncio.gather(
        gates.passed(run_of("d"), needs_bad, (), {}), gates.passed(run_of("e"), needs_good, (), {})
    )

    assert [one and type(one) for one in (*first, *then)] == [Refused, None, Refused, Refused, None]
    assert first[0] == Refused("f-good"), "it goes back to its position"
    assert gates.shares() == {"f-bad": 0}, "its jobs are left in the queue"
    lines = [line for line in caplog.messages if line.startswith("gates.unreadable")]
    assert len(lines) == 1, "it is reported once"
    assert "gate=limit:bad" in lines[0]
    assert "{jf}:gate:limit:bad" in lines[0]
    await gates.close()


async def test_a_gate_that_can_be_read_again_lets_runs_pass(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level("INFO")
    store = Refusing("limit:bad")
    gates = made(store)
    assert isinstance(await gates.passed(run_of("a"), handler_of(1, "bad"), (), {}), Refused)

    store.damaged.clear()
    assert await gates.passed(run_of("b"), handler_of(1, "bad"), (), {}) is None

    assert gates.shares() == {}
    assert "gates.readable gate=limit:bad" in caplog.messages
    await gates.close()


async def test_a_damaged_gate_does_not_keep_the_ends_of_runs_from_the_others() -> None:
    store, run, ends = Refusing(), run_of("a"), list[object]()
    gates = made(store)
    await gates.passed(run, handler_of(1, "good", "bad"), (), {})
    store.damaged.add("limit:bad")

    gates.watched(run, lambda value, error: ends.append(error))(None, None)

    await gates.close()
    assert store.outcomes == ["ok"]


async def test_a_breaker_of_a_group_that_cannot_be_read_puts_its_job_back_for_a_while() -> None:
    gates = made(Refusing("breaker:group:mail:acme"))
    run = run_of("a")
    run.grant.meta = "g acme"
    function = SimpleNamespace(name="f", gates=Gates((), Breaker(0.5, per="group")), parameters=())

    outcome = await asyncio.wait_for(gates.passed(run, cast("Any", SimpleNamespace(function=function)), (), {}), 10)

    assert outcome == Refused("f", 5_000_000)
    assert gates.shares() == {}, "jobs of other groups do not wait"
    await gates.close()


async def test_a_run_that_its_gates_refuse_at_the_call_is_no_failure() -> None:
    store, run = Answering(60_000_000), run_of("a")
    gates = made(store)
    await gates.passed(run, handler_of(1), (), {})

    gates.watched(run, lambda _value, _error: None)(None, NotStarted(Refused("f")))
    await gates.close()

    assert store.outcomes == ["unused"]
