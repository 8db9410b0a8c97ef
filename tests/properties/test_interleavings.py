"""Classes that gather what comes while a trip is under way: however their tasks interleave, nothing is left behind.

Each stands on a store that lives in memory and gives way between reading and writing, on an event loop that runs what
is ready in an order drawn by a seed (`tests/support/interleaving.py`). An order that was harmful once is had again by
its seed. That whole fleets lose no wake-up is shown on real servers: `tests/e2e/test_chains.py`.
"""

from __future__ import annotations

import asyncio
import random
from collections.abc import Callable, Coroutine, Sequence
from typing import Any, cast

import pytest

from jobfleet.client._async.connection import EnqueueBatcher
from jobfleet.config import JobConfig
from jobfleet.errors import ScriptContractError, StoreUnavailable
from jobfleet.functions.injection import Resource
from jobfleet.store.aio import AsyncStore
from jobfleet.store.call import Call
from jobfleet.store.calls.settle import release
from jobfleet.store.keys import Keyspace, Lane
from jobfleet.store.records import Answer, Claimed, Entry, Grant, Settled
from jobfleet.store.target import target
from jobfleet.worker.child.claimer import Claimer
from jobfleet.worker.run.conclusion import Completer
from jobfleet.worker.run.reports import JobLogWriter, ProgressWriter
from jobfleet.worker.run.resources import Resources
from jobfleet.worker.run.run import Run
from jobfleet.worker.run.runner import Parents
from jobfleet.worker.run.writer import RunWriter
from tests.support.interleaving import interleaved, turns
from tests.support.run_events import QuietEvents

KEYS = Keyspace("jobfleet")
LANE, OTHER = KEYS.lane("a", 0), KEYS.lane("b", 0)
SEEDS = range(150)
Scenario = Callable[[random.Random], Coroutine[Any, Any, None]]


class Paced:
    """A store in memory that gives way before and after it answers, and fails some trips.

    Args:
        dice: When.
        answer: Answers one call.
        fails: The share of trips that end in an error that is no expected one.
    """

    def __init__(self, dice: random.Random, answer: Callable[[Call[Any]], Any], *, fails: float = 0.0) -> None:
        self._dice = dice
        self._answer = answer
        self._fails = fails

    async def run(self, call: Call[Any], **_: Any) -> Any:
        return (await self.run_many((call,)))[0]

    async def run_many(self, calls: Sequence[Call[Any]], **_: Any) -> list[Any]:
        await turns(self._dice.randrange(3))
        answers = [self._answer(call) for call in calls]
        await turns(self._dice.randrange(3))
        if self._dice.random() < self._fails:
            raise ScriptContractError("something answered what no contract names")
        return answers


def jobs_of(call: Call[Any]) -> list[str]:
    """The jobs that a call is about, by its keys."""
    keys = [str(key) for key in call.keys]
    return [key.removeprefix(LANE.job_prefix) for key in keys if key.startswith(LANE.job_prefix)]


def remembering(seen: list[Any]) -> Callable[[Call[Any]], str]:
    """Answers each call with a letter for one job, and remembers it."""

    def answer(call: Call[Any]) -> str:
        seen.append(call)
        return "o"

    return answer


def a_run(number: int) -> Run:
    return Run(LANE, Grant(f"a.0.{number}", number + 1, 0, 2, b"", "", ""), 0, 0.0, cast(RunWriter, None))


async def several(dice: random.Random, act: Callable[[int], Any]) -> None:
    """Act for the numbers up to 24, from three tasks that give way in between."""

    async def some(first: int) -> None:
        for number in range(first, first + 8):
            done = act(number)
            if asyncio.iscoroutine(done):
                await done
            await turns(dice.randrange(4))

    await asyncio.gather(*(some(first) for first in (0, 8, 16)))


async def gathering(dice: random.Random) -> None:
    """Each enqueue is answered with its own answer, also when others are cancelled or trips fail."""
    put: list[str] = []

    def answer(call: Call[Any]) -> list[Answer]:
        put.extend(jobs_of(call))
        return [cast(Answer, job_id) for job_id in jobs_of(call)]

    gatherer = EnqueueBatcher(LANE, cast(AsyncStore, Paced(dice, answer, fails=0.2)))
    answered: list[tuple[str, Any]] = []

    async def enqueue(number: int) -> None:
        job_id = f"a.0.{number}"
        asking = asyncio.ensure_future(gatherer.enqueue(Entry(job_id, 2, "", "", b"")))
        if dice.random() < 0.2:
            await turns(dice.randrange(4))
            asking.cancel()
        (outcome,) = await asyncio.gather(asking, return_exceptions=True)
        answered.append((job_id, outcome))

    await several(dice, enqueue)
    await enqueue(99)
    await gatherer.drained()

    assert len(answered) == 25
    given = {job_id: one for job_id, one in answered if not isinstance(one, BaseException)}
    assert all(job_id == one for job_id, one in given.items())
    assert set(given) <= set(put)


async def gathering_while_its_own_task_is_cancelled(dice: random.Random) -> None:
    """Who enqueues after that is not left waiting."""
    gatherer = EnqueueBatcher(LANE, cast(AsyncStore, Paced(dice, jobs_of)))
    asking = [asyncio.ensure_future(gatherer.enqueue(Entry(f"a.0.{n}", 2, "", "", b""))) for n in range(3)]
    while gatherer._task is None and not all(one.done() for one in asking):
        await asyncio.sleep(0)
    await turns(dice.randrange(4))
    if gatherer._task is not None:
        gatherer._task.cancel()
    await asyncio.gather(*asking, return_exceptions=True)

    await gatherer.enqueue(Entry("a.0.9", 2, "", "", b""))


async def finishing(dice: random.Random) -> None:
    """Each run is settled once, also when a trip fails."""
    settled: list[tuple[str, str]] = []

    def answer(call: Call[Any]) -> Settled:
        return Settled(is_stale=False, letters="s" * len(jobs_of(call)))

    class Settling(QuietEvents):
        def settled(self, run: Run, letter: str) -> None:
            settled.append((run.id, letter))

    finisher = Completer(
        LANE,
        "w.1",
        cast(AsyncStore, Paced(dice, answer, fails=0.3)),
        progress_ttl_ms=1,
        events=Settling(),
    )
    await several(dice, lambda number: finisher.add(a_run(number), release(f"a.0.{number}", 1)))
    await finisher.drained(60.0)

    assert sorted(job_id for job_id, _ in settled) == sorted(f"a.0.{number}" for number in range(24))
    assert {letter for _, letter in settled} <= {"s", "?"}


async def reporting(dice: random.Random) -> None:
    """The last report of each run arrives, also after a trip failed."""
    latest: dict[str, int] = {}

    def answer(call: Call[Any]) -> str:
        rows = [call.args[at : at + 3] for at in range(2, len(call.args) - 1, 4)]
        for job_id, _, n in rows:
            latest[str(job_id)] = int(n)
        return "o" * len(rows)

    reporter = ProgressWriter(cast(AsyncStore, Paced(dice, answer)), rate=10, ttl_ms=1, events=QuietEvents())
    runs = [a_run(number) for number in range(4)]

    def report(number: int) -> None:
        run = runs[number % 4]
        reporter.report(run, 0.5, "", None)

    await several(dice, report)
    await asyncio.sleep(1.0)
    assert latest == {run.id: run.output.number for run in runs}

    for run in runs:  # it has gone to rest, and has to be woken
        reporter.report(run, 0.5, "", None)
    await asyncio.sleep(1.0)
    assert latest == {run.id: run.output.number for run in runs}


async def reporting_after_a_trip_failed(dice: random.Random) -> None:
    """One bad answer does not silence the progress of every job to come."""
    seen: list[Any] = []
    store = Paced(dice, remembering(seen), fails=1.0)
    reporter = ProgressWriter(cast(AsyncStore, store), rate=10, ttl_ms=1, events=QuietEvents())
    run = a_run(1)
    for _ in range(3):
        reporter.report(run, 0.5, "", None)
        await asyncio.sleep(1.0)

    assert len(seen) == 3


async def logging_lines(dice: random.Random) -> None:
    """Each line arrives, in order, also after a rest."""
    lines: list[Any] = []
    scribe = JobLogWriter(
        cast(AsyncStore, Paced(dice, remembering(lines))),
        most_lines=100,
        most_bytes=10_000,
        ttl_ms=1,
        events=QuietEvents(),
    )
    run = a_run(1)
    await several(dice, lambda number: scribe.note(run, number, 20, "text"))
    await asyncio.sleep(1.0)
    scribe.note(run, 99, 20, "text")
    await asyncio.sleep(1.0)

    texts = [part for call in lines for part in call.args if isinstance(part, bytes) and part.endswith(b"text")]
    assert sorted(texts) == sorted([b"%d 20 text" % number for number in [*range(24), 99]])
    assert texts[-1] == b"99 20 text"


async def logging_after_a_trip_failed(dice: random.Random) -> None:
    """One bad answer does not silence the logs of every job to come."""
    seen: list[Any] = []
    store = Paced(dice, remembering(seen), fails=1.0)
    scribe = JobLogWriter(cast(AsyncStore, store), most_lines=9, most_bytes=999, ttl_ms=1, events=QuietEvents())
    for number in range(3):
        scribe.note(a_run(number), 1, 20, "text")
        await asyncio.sleep(1.0)

    assert len(seen) == 3


async def looking_up_parents(dice: random.Random) -> None:
    """Each run learns how its own parents ended."""
    parents = Parents(cast(AsyncStore, Paced(dice, lambda call: ())), KEYS)
    answers: list[Any] = []

    async def look(number: int) -> None:
        answers.append(await parents(LANE, f"a.0.{number}", {}))

    await several(dice, look)
    assert answers == [[]] * 24


async def opening_a_resource_that_failed_before(dice: random.Random) -> None:
    """Whoever asks after the failure was told tries again, and is not given the old error."""
    attempts = 0

    async def factory() -> int:
        nonlocal attempts
        attempts += 1
        await turns(dice.randrange(3))
        if attempts == 1:
            raise ConnectionError("once")
        return attempts

    resources, resource = Resources(), Resource(factory)
    began_after: list[Any] = []

    async def ask(number: int) -> None:
        had_failed = attempts and resources._lives[factory].opened.done()
        outcomes = await asyncio.gather(resources.open(resource), return_exceptions=True)
        if had_failed:
            began_after.extend(outcomes)

    await several(dice, ask)
    await resources.close(1.0)

    assert set(began_after) == {2}
    assert attempts == 2


class Lanes:
    """Lanes with markers, as the store shows them to a claimer; some answers are lost after the work was done."""

    def __init__(self, dice: random.Random) -> None:
        self._dice = dice
        self.at = target("redis://127.0.0.1:1/0")
        self.jobs: dict[Lane, list[str]] = {LANE: [], OTHER: []}
        self.marked: set[Lane] = set()
        self.change = asyncio.Event()
        self._memory: dict[str, tuple[int, Claimed]] = {}

    def enqueue(self, lane: Lane, job_id: str) -> None:
        self.jobs[lane].append(job_id)
        self._mark(lane)

    def _mark(self, lane: Lane) -> None:
        self.marked.add(lane)
        self.change.set()

    async def run(self, call: Call[Claimed], **_: Any) -> Claimed:
        await turns(self._dice.randrange(3))
        claimed = self._claim(call)
        await turns(self._dice.randrange(3))
        if self._dice.random() < 0.2:
            raise StoreUnavailable("No Redis")
        return claimed

    def _claim(self, call: Call[Claimed]) -> Claimed:
        tag, _, nonce, _, limit, *_ = call.args
        seen, before = self._memory.get(str(tag), (0, Claimed("empty", 1, 0)))
        if nonce == seen:
            return before
        lane = LANE if tag == LANE.tag else OTHER
        taken, self.jobs[lane] = self.jobs[lane][: int(limit)], self.jobs[lane][int(limit) :]
        if self.jobs[lane]:
            self._mark(lane)
        grants = tuple(Grant(job_id, int(nonce), 0, 2, b"", "", "") for job_id in taken)
        claimed = Claimed("claimed" if grants else "empty", 1, 0, grants)
        self._memory[str(tag)] = (int(nonce), claimed)
        return claimed

    async def wait_wake(self, lanes: Sequence[Lane], timeout: float, kind: str = "") -> Lane | None:
        await turns(self._dice.randrange(2))
        try:
            async with asyncio.timeout(timeout):
                while not (there := [lane for lane in lanes if lane in self.marked]):
                    self.change.clear()
                    await self.change.wait()
        except TimeoutError:
            return None
        self.marked.discard(there[0])
        await turns(self._dice.randrange(2))
        return there[0]

    async def wait_wake_with(
        self, call: Call[Claimed], lane: Lane, timeout: float, kind: str = ""
    ) -> tuple[bool, Claimed | None]:
        taken = await self.wait_wake((lane,), timeout)
        claimed = self._claim(call)
        await turns(self._dice.randrange(2))
        return taken is not None, claimed if self._dice.random() < 0.8 else None


async def claiming(dice: random.Random) -> None:
    """Each job is claimed within a wait for a marker, whatever was lost and whenever slots came free."""
    lanes, running, seen = Lanes(dice), set[str](), list[str]()
    ends: list[asyncio.Future[None]] = []

    class Admitting(QuietEvents):
        def admitted(self, lane: Lane, claimed: Claimed, until: float) -> None:
            for grant in claimed.grants:
                running.add(grant.id)
                seen.append(grant.id)
                ends.append(asyncio.ensure_future(end(grant.id)))

    async def end(job_id: str) -> None:
        await turns(dice.randrange(6))
        running.discard(job_id)
        claimer.changed()

    claimer = Claimer(
        cast(AsyncStore, lanes),
        JobConfig(url="redis://localhost", lease=60.0),
        child="w.1",
        free=lambda: 3 - len(running),
        events=Admitting(),
    )
    claimer.serve((LANE, OTHER) if dice.random() < 0.5 else (LANE,))
    claimer.start()
    await several(dice, lambda number: lanes.enqueue(LANE, f"a.0.{number}"))
    async with asyncio.timeout(20.0):  # less than a wait for a marker lasts
        while len(seen) < 24:
            await asyncio.sleep(0.01)
    await claimer.quiet()

    assert sorted(seen) == sorted(f"a.0.{number}" for number in range(24))


SCENARIOS: list[Scenario] = [
    gathering, gathering_while_its_own_task_is_cancelled, finishing, reporting, reporting_after_a_trip_failed,
    logging_lines, logging_after_a_trip_failed, looking_up_parents, opening_a_resource_that_failed_before, claiming,
]  # fmt: skip


@pytest.mark.parametrize("scenario", SCENARIOS, ids=lambda scenario: scenario.__name__)
def test_nothing_is_left_behind_in_any_order(scenario: Scenario) -> None:
    for seed in SEEDS:
        try:
            interleaved(scenario, seed=seed)
        except BaseException as error:
            raise AssertionError(f"in the order of seed {seed}: {error!r}") from error
