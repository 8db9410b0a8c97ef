"""Named limits and circuit breakers on real workers, judged by what an observer outside of Redis has seen."""

from __future__ import annotations

import signal
import sys
from pathlib import Path

import pytest

from jobfleet import Fleet, InvalidJob, Job, JobStatus, Priority
from jobfleet.model.limits import NamedLimit
from jobfleet.model.result import ReasonCode
from tests.support.fleet import LONG, Program, Programs, settle_all
from tests.support.gates import Seen, costs_within, mark_kill, most_at_once, read, refilled_after, use_of_places
from tests.support.havoc import Havoc
from tests.support.waiting import wait_until

pytestmark = pytest.mark.timeout(300)


def seen(programs: Programs, name: str) -> list[Seen]:
    return read(programs.folder / f"seen-{name}")


def limit(fleet: Fleet, name: str) -> NamedLimit:
    found = (one for one in fleet.limits.all_named() if one.name == name)
    return next(found, NamedLimit(name))


def await_reason(fleet: Fleet, job_id: str, code: ReasonCode) -> str:
    """Wait until a job waits for this reason: a worker may just be putting it back. Return the text."""

    def found() -> str:
        return next((one.text for one in fleet.explain(job_id).reasons if one.code is code), "")

    return wait_until(found, timeout=LONG, why=f"{job_id} waits for {code}")


def enqueue(fleet: Fleet, *jobs: Job) -> list[str]:
    return [receipt.id for receipt in fleet.enqueue_many(jobs)]


@pytest.fixture
def workers(own_programs: Programs, own_fleet: Fleet) -> list[Program]:
    """Two workers of two queues, the first of which has a reaper."""
    settings = {"processes": 1, "slots": 8, "queues": "default,other", "lease": 2}
    first = own_programs.ready("gated", with_reaper=1, **settings)
    return [first, own_programs.ready("gated", **settings)]


@pytest.mark.usefixtures("workers")
def test_no_window_exceeds_the_rates_that_functions_of_two_queues_share_and_they_are_used(
    own_programs: Programs, own_fleet: Fleet
) -> None:
    own_fleet.limits.named("fast", rate="20/2s")
    own_fleet.limits.named("gpt", rate="300/2s")
    many = [Job("fast", "gated.fast") for _ in range(50)]
    many += [Job("call", "gated.call", (tokens,), queue="other") for tokens in (10, 60, 5, 20) * 5]

    ids = enqueue(own_fleet, *many, Job("free", "gated.free"))
    settle_all(own_fleet, ids)

    fast, gpt = seen(own_programs, "fast"), seen(own_programs, "gpt")
    assert len(fast) == 70
    assert len(gpt) == 20
    assert costs_within(fast, 2_000_000) == 20, "the rate is reached, and never exceeded"
    assert costs_within(gpt, 2_000_000) <= 300
    # A job without a limit does not wait behind those that do.
    assert seen(own_programs, "free")[0].at_us < fast[40].at_us


def test_places_are_shared_and_those_of_a_killed_worker_come_back(
    own_programs: Programs, own_fleet: Fleet, workers: list[Program]
) -> None:
    own_fleet.limits.named("few", concurrency=3)
    ids = enqueue(own_fleet, *[Job("nap", "gated.nap", (0.2,)) for _ in range(12)])
    ids += enqueue(own_fleet, *[Job("nap", "gated.elsewhere", (0.2,), queue="other") for _ in range(12)])

    wait_until(lambda: len(seen(own_programs, "few")) > 12, timeout=LONG, why="some have run")
    for pid in workers[1].children():
        mark_kill(own_programs.folder / "seen-few", pid)
    workers[1].send_all(signal.SIGKILL)
    settle_all(own_fleet, ids)

    rows = seen(own_programs, "few")
    assert most_at_once(rows) == 3
    wait_until(lambda: limit(own_fleet, "few").running == 0, timeout=LONG, why="no place is lost")


@pytest.mark.usefixtures("workers")
def test_explain_names_the_limit_and_a_service_that_refuses_closes_it_for_all(
    own_programs: Programs, own_fleet: Fleet, tmp_path: Path
) -> None:
    with pytest.raises(InvalidJob, match="There is no limit 'fwe'"):
        own_fleet.limits.close("fwe")
    assert own_fleet.limits.close("few", 0.1), "it is not defined, but functions name it"
    own_fleet.limits.named("few", concurrency=1)
    enqueue(own_fleet, Job("nap", "gated.nap", (3.0,)))
    wait_until(lambda: limit(own_fleet, "few").running == 1, timeout=LONG, why="it holds the place")
    (waiting,) = enqueue(own_fleet, Job("nap", "gated.nap", (0.0,)))
    text = await_reason(own_fleet, waiting, ReasonCode.LIMIT_FULL)
    assert "Limit 'few' is full: 1 of 1 run" in text

    flag = tmp_path / "refuses"
    flag.touch()
    (first,) = enqueue(own_fleet, Job("api", "gated.refused", (str(flag), 4.0)))
    wait_until(lambda: not flag.exists(), timeout=LONG, why="the service has refused")
    wait_until(lambda: limit(own_fleet, "api").closed_for, timeout=LONG, why="the limit is closed")
    (second,) = enqueue(own_fleet, Job("api", "gated.refused", (str(flag), 4.0)))
    assert "RateLimited in" in await_reason(own_fleet, second, ReasonCode.LIMIT_CLOSED)

    found = settle_all(own_fleet, [first, second])
    assert {one.status for one in found.values()} == {JobStatus.COMPLETED}
    assert found[first].retry_count == 0, "it is not charged"
    starts = [row.at_us for row in seen(own_programs, "api")]
    assert min(starts[1:]) - starts[0] >= 3_990_000


QUEUES = ("default", "other", "third")
PRIORITIES = (Priority.HIGH, Priority.NORMAL, Priority.LOW)
RATE, PERIOD_US, PLACES, NAP = 200, 2_000_000, 8, 1.0
LOAD = 40
"""Seconds for which there is work."""


@pytest.mark.slow
@pytest.mark.timeout(1500)
@pytest.mark.parametrize("seed", range(2))
@pytest.mark.parametrize("kills", [0, 12])
def test_many_workers_of_many_lanes_never_exceed_a_limit_and_use_it(
    own_programs: Programs, own_fleet: Fleet, kills: int, seed: int
) -> None:
    def mark(event: str, pid: int) -> None:
        for name in ("fast", "few"):
            mark_kill(own_programs.folder / f"seen-{name}", pid)

    def start() -> Program:
        return own_programs.ready(
            "gated", processes=2, slots=16, queues=",".join(QUEUES), lease=3, with_reaper=1, reap_interval=0.2
        )

    own_fleet.limits.named("fast", rate=f"{RATE}/2s")
    own_fleet.limits.named("few", concurrency=PLACES)
    havoc = Havoc(start, seed, mark, count=4)
    options = {"max_crashes": 100}
    naps = ["gated.nap", "gated.elsewhere", "gated.cell"]
    jobs = [
        Job("fast", "gated.fast", queue=QUEUES[n % 3], priority=PRIORITIES[n % 7 % 3], **options)  # type: ignore[arg-type]
        for n in range(LOAD * RATE // 2)
    ]
    jobs += [Job("nap", naps[n % 3], (NAP,), queue=QUEUES[n % 3], **options) for n in range(LOAD * PLACES)]  # type: ignore[arg-type]
    havoc.dice.shuffle(jobs)
    ids = enqueue(own_fleet, *jobs)
    for number in range(kills):
        least = len(jobs) * (number + 1) // (kills + 2)
        wait_until(
            lambda least=least: len(seen(own_programs, "fast")) + len(seen(own_programs, "few")) // 2 > least,  # type: ignore[misc]
            timeout=2 * LONG,
            why="the next kill is due",
        )
        havoc.strike("child", "worker")
    settle_all(own_fleet, ids, timeout=3 * LONG)

    fast, few = seen(own_programs, "fast"), seen(own_programs, "few")
    starts = [row for row in fast if row.event == "start"]
    begin, end = starts[0].at_us + PERIOD_US, starts[-1].at_us - PERIOD_US
    rate = sum(begin <= row.at_us < end for row in starts) / (end - begin) * PERIOD_US / RATE
    first, last = few[0].at_us + 2_000_000, [row for row in few if row.event == "start"][-PLACES].at_us
    use = use_of_places(few, PLACES, first, last)
    back = [refilled_after(few, row, PLACES) for row in few if row.event == "kill"]
    refilled = sorted(one for one in back if one is not None)
    sys.stderr.write(
        f"seed {seed}: {len(starts)} starts, {costs_within(fast, PERIOD_US)} of {RATE} in a window, "
        f"rate used {rate:.3f}; {len(few)} lines, {most_at_once(few)} of {PLACES} at once, "
        f"places used {use:.3f}; {dict(havoc.done)}, places back after {[round(one, 1) for one in refilled]} s\n"
    )
    assert costs_within(fast, PERIOD_US) <= RATE
    assert most_at_once(few) == PLACES
    assert rate >= 0.9
    assert kills or use >= 0.9
    assert limit(own_fleet, "few").running == 0


@pytest.mark.slow
@pytest.mark.parametrize("seed", range(2))
def test_the_share_of_a_dead_worker_comes_back_within_a_lease(
    own_programs: Programs, own_fleet: Fleet, seed: int
) -> None:
    lease = 4
    settings = {"processes": 2, "slots": 8, "lease": lease, "queues": "default,other", "reap_interval": 0.2}
    dies = own_programs.ready("gated", **settings)
    own_fleet.limits.named("few", concurrency=6)
    ids = enqueue(own_fleet, *[Job("nap", "gated.nap", (30.0,), max_crashes=9, timeout=60) for _ in range(6)])
    wait_until(lambda: len(seen(own_programs, "few")) == 6, timeout=LONG, why="it holds all places")
    own_programs.ready("gated", **settings, with_reaper=1)
    ids += enqueue(own_fleet, *[Job("nap", "gated.nap", (0.1 * (seed + 1),)) for _ in range(6)])

    for pid in dies.children():
        mark_kill(own_programs.folder / "seen-few", pid)
    dies.send_all(signal.SIGKILL)
    wait_until(lambda: most_at_once(seen(own_programs, "few")[8:]) == 6, timeout=LONG, why="all places are used")

    rows = seen(own_programs, "few")
    kill = next(row for row in rows if row.event == "kill")
    back = refilled_after(rows, kill, 6)
    sys.stderr.write(f"seed {seed}: 6 places of a dead worker are used again {back:.2f} s after its end\n")
    assert back is not None
    assert back < lease + 1.5
