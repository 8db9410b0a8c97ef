"""The checker finds what is wrong with a history, and a correct history violates nothing."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from tests.support.chaos.case import Case
from tests.support.chaos.figures import figures
from tests.support.chaos.history import Record
from tests.support.chaos.invariants import INVARIANTS, judge
from tests.support.chaos.producer import BULK, SIDE
from tests.support.chaos.trail import Happened, Trail

JOB, OTHER = "default.0.aa", "default.0.bb"
ACKNOWLEDGED = [
    Record(1.0, "producer-1", "invoke", "enqueue", JOB, 0, {"call": 7, "function": "chaos.work"}),
    Record(1.1, "producer-1", "ok", "enqueue", JOB, 0, {"answer": JOB}),
]
RUN = [
    Record(2.0, "run-1", "invoke", "run", JOB, 50, {"call": 7, "attempt": 1}),
    Record(2.1, "run-1", "ok", "run", JOB, 50),
]
COMPLETED = {"status": "completed", "result": 50, "fence": 50, "retry_count": 0, "error": None}


def case(*history: Record, job: dict[str, Any] | None = None, **run: Any) -> Case:
    """A run of one job."""
    final = {"jobs": {JOB: job} if job else {}, "left": {}, "totals": {}}
    return Case([*ACKNOWLEDGED, *history], None, {"fault": "none", "seed": 1, "seconds": 1.0, **run}, final)


def invariants(found: Case) -> set[int]:
    return {breach.invariant for breach in judge(found)}


def test_the_42_invariants_are_each_judged_or_have_a_reason() -> None:
    assert [one.number for one in INVARIANTS] == list(range(1, 43))
    assert all(one.how for one in INVARIANTS)
    assert [one.number for one in INVARIANTS if one.source == "elsewhere"] == [31, 32]


def test_a_job_that_ran_once_violates_nothing() -> None:
    verdict = figures(case(*RUN, job=COMPLETED))

    assert verdict.breaches == []
    assert (verdict.jobs, verdict.acknowledged, verdict.lost, verdict.duplicates) == (1, 1, 0, 0)


def waited(**seen: Any) -> list[Record]:
    return [
        Record(3.0, "producer-1", "invoke", "wait", JOB),
        Record(3.1, "producer-1", "ok", "wait", JOB, 0, {"answer": seen}),
    ]


def cancelled(at: float = 1.5) -> list[Record]:
    return [
        Record(at, "producer-1", "invoke", "cancel", JOB, 0, {"was": "waiting"}),
        Record(at + 0.1, "producer-1", "ok", "cancel", JOB, 0, {"answer": True}),
    ]


def ticked(job_id: str) -> Record:
    return Record(2.0, "run-1", "info", "tick", job_id, 9, {"planned": "12:00:01"})


def repeated(token: int, job_id: str = JOB, call: int = 7) -> Record:
    return Record(2.5, "run-2", "invoke", "run", job_id, token, {"call": call, "attempt": 1})


def info(op: str, at: float = 2.05, job_id: str = JOB, **value: Any) -> Record:
    return Record(at, "run-1", "info", op, job_id, 50, value)


def signalled() -> list[Record]:
    return [
        Record(1.5, "producer-1", "invoke", "signal", JOB),
        Record(1.6, "producer-1", "ok", "signal", JOB, 0, {"answer": True}),
    ]


def sequence() -> Case:
    """Two jobs of a sequence; the second one starts before the first one has ended."""
    found = case(*RUN, repeated(60, OTHER, 8), job=COMPLETED)
    for at, job_id, call in ((1.0, JOB, 7), (1.2, OTHER, 8)):
        found.history.append(
            Record(at, "producer-2", "invoke", "enqueue", job_id, 0, {"call": call, "order": "seq"})
        )  # fmt: skip
        found.history.append(Record(at + 0.1, "producer-2", "ok", "enqueue", job_id, 0, {"answer": job_id}))
    found.history[:2] = []
    found.history[-5:-4] = [Record(2.05, "run-2", "invoke", "run", OTHER, 60, {"call": 8, "attempt": 1})]
    return found


def narrow(runs: int) -> Case:
    """So many runs of a limit of three at once."""
    history: list[Record] = []
    jobs: dict[str, Any] = {}
    for n in range(runs):
        job_id, token = f"default.0.n{n}", 100 + n
        facts = {"call": 100 + n, "function": "chaos.narrow"}
        history += [
            Record(1.0, "producer-1", "invoke", "enqueue", job_id, 0, facts),
            Record(1.1, "producer-1", "ok", "enqueue", job_id, 0, {"answer": job_id}),
            Record(2.0 + n / 100, "run-1", "invoke", "run", job_id, token, {"call": 100 + n, "attempt": 1}),
            Record(3.0 + n / 100, "run-1", "ok", "run", job_id, token),
        ]
        jobs[job_id] = {**COMPLETED, "result": token, "fence": token}
    return Case(history, None, {"fault": "none", "seed": 1, "seconds": 1.0}, {"jobs": jobs, "left": {}, "totals": {}})


def streamed(chunks: list[int]) -> Case:
    found = case(*RUN, job=COMPLETED)
    found.history[0] = found.history[0]._replace(value={**found.history[0].value, "chunks": 3})
    found.final["chunks"] = {JOB: chunks}
    return found


def kept_keys() -> Case:
    found = case(*RUN, job=COMPLETED)
    found.final["keys"] = {"steps": 2, "totals": 1}
    return found


FAILED = {**COMPLETED, "status": "failed", "error": "RuntimeError: for good"}


def test_a_correct_history_of_the_features_violates_nothing() -> None:
    kept = [info("step", 2.01, step=1), info("kept", 2.02, step=1, kept=50), info("kept", 2.3, step=1, kept=50)]
    assert invariants(case(*RUN, *kept, *signalled(), info("signalled", value=7), job=COMPLETED)) == set()
    assert invariants(case(*RUN, info("booked", step=1), info("undone", step=1), job=FAILED)) == {14}, "as it must not"
    assert invariants(narrow(3)) == set()
    assert invariants(streamed([0, 1, 2])) == set()
    assert invariants(case(*RUN, info("read", length=BULK), job=COMPLETED)) == set()


@pytest.mark.parametrize(
    ("invariant", "found"),
    [
        pytest.param(1, case(), id="a lost job"),
        pytest.param(2, case(*RUN, repeated(60, OTHER), job=COMPLETED), id="a job that nobody asked for"),
        pytest.param(4, case(*RUN, repeated(50), job=COMPLETED), id="two runs under one token"),
        pytest.param(5, case(*RUN, repeated(50, OTHER, 8), job=COMPLETED), id="two jobs under one token"),
        pytest.param(14, case(*RUN, job={**COMPLETED, "retry_count": 1}), id="a charge without a run"),
        pytest.param(19, case(*cancelled(), *RUN, job={**COMPLETED, "status": "cancelled"}), id="a cancelled job"),
        pytest.param(21, case(ticked("ticks.0.a"), ticked("ticks.0.b")), id="a planned time fired twice"),
        pytest.param(23, case(*RUN, job=COMPLETED, probe={"id": OTHER, "at": 3.0}), id="a probe that never starts"),
        pytest.param(24, case(job={**COMPLETED, "status": "queued"}), id="a job that stays open"),
        pytest.param(25, case(*RUN, repeated(40), job=COMPLETED), id="a late start"),
        pytest.param(26, case(*RUN, *waited(status="completed", result=50, fence=50)), id="a result that is gone"),
        pytest.param(27, case(*RUN, job={**COMPLETED, "result": 49}), id="a result of another run"),
        pytest.param(27, case(job=COMPLETED), id="a result of a run that never ended"),
        pytest.param(30, case(job={**COMPLETED, "status": "failed"}, hostile=True), id="a victim of a hostile job"),
        pytest.param(
            33,
            case(*RUN, job={**COMPLETED, "status": "failed", "error_class": "FleetFull"}),
            id="a job that was refused",
        ),
        pytest.param(
            33,
            case(*RUN[:1], Record(2.1, "run-1", "fail", "run", JOB, 50, {"error": "DurabilityUnavailable"})),
            id="a run that was charged for a replica",
        ),
        pytest.param(
            34, case(*RUN, info("kept", step=1, kept=50), info("step", 2.09, step=1), job=COMPLETED), id="a step again"
        ),
        pytest.param(
            34,
            case(*RUN, info("kept", step=1, kept=50), info("kept", 2.09, step=1, kept=60), job=COMPLETED),
            id="another value of a step",
        ),
        pytest.param(35, case(*RUN, info("booked", step=1), job=FAILED), id="a step that is not undone"),
        pytest.param(36, case(*RUN, info("added", ids=[OTHER]), job=COMPLETED), id="an added job that is lost"),
        pytest.param(
            37, case(*RUN, *signalled(), job={**COMPLETED, "status": "scheduled"}), id="a signal that is lost"
        ),
        pytest.param(37, case(*RUN, info("signalled", value=8), job=COMPLETED), id="a signal of another job"),
        pytest.param(42, kept_keys(), id="a key that is kept for ever"),
        pytest.param(38, streamed([0, 2]), id="a gap in a stream"),
        pytest.param(39, sequence(), id="a sequence out of order"),
        pytest.param(40, narrow(4), id="a limit that is exceeded"),
        pytest.param(41, case(*RUN, info("read", length=3), job=COMPLETED), id="half of a payload"),
    ],
)
def test_it_finds(invariant: int, found: Case) -> None:
    assert invariant in invariants(found)


def test_what_the_fault_may_lose_is_excused_and_counted() -> None:
    verdict = figures(case(windows=[[1.0, 2.0]]))

    assert (verdict.lost, verdict.excused, verdict.breaches) == (1, 1, [])


def test_a_late_start_is_excused_only_while_two_nodes_may_be_primaries() -> None:
    late = repeated(40)
    for begin, violated in ((late.at - 0.1, set()), (late.at + 0.1, {25})):
        found = case(*RUN, late, job=COMPLETED, windows=[[begin, begin + 0.2]])
        assert invariants(found) & {25} == violated, begin


def test_a_job_of_a_level_that_the_fault_must_keep_is_not_excused() -> None:
    lost: dict[str, Any] = {"windows": [[1.0, 2.0]], "keeps": ["replicated"]}

    assert figures(case(**lost, level="fast")).breaches == []
    verdict = figures(case(**lost, level="replicated"))
    assert (verdict.lost, verdict.excused, verdict.level) == (1, 0, "replicated")
    assert {breach.invariant for breach in verdict.breaches} == {1}


def test_an_outage_lasts_from_the_first_call_without_a_reply_to_the_next_reply_of_its_queue() -> None:
    calls = [
        Record(2.0, "producer-1", "invoke", "enqueue", OTHER, 0, {"call": 8}),
        Record(3.5, "producer-2", "invoke", "enqueue", f"{SIDE}.0.cc", 0, {"call": 9}),
        Record(3.6, "producer-2", "ok", "enqueue", f"{SIDE}.0.cc", 0, {"answer": f"{SIDE}.0.cc"}),
        Record(4.0, "producer-1", "unknown", "enqueue", OTHER),
        Record(4.1, "producer-1", "invoke", "enqueue", OTHER, 0, {"call": 8}),
        Record(4.5, "producer-1", "ok", "enqueue", OTHER, 0, {"answer": OTHER}),
    ]

    outages = case(*calls, *RUN, job=COMPLETED).outages

    assert {queue: round(seconds, 1) for queue, seconds in outages.items()} == {"default": 2.5, SIDE: 0.1}


def test_an_unknown_outcome_is_neither_lost_nor_a_phantom() -> None:
    history = [ACKNOWLEDGED[0], Record(1.1, "producer-1", "unknown", "enqueue", JOB), *RUN]

    assert judge(replace(case(job=COMPLETED), history=history)) == []
    assert judge(replace(case(), history=history[:2])) == []


def paused(*resumed: tuple[float, float]) -> Case:
    """A pause from 1 s on, with calls to resume from other producers, and a grant of the paused queue at 5 s."""
    side = f"{SIDE}.0.aa"
    history = [Record(1.0, "p-1", "invoke", "pause"), Record(1.2, "p-1", "ok", "pause", "", 0, {"answer": True})]
    for number, (begun, ended) in enumerate(resumed):
        history.append(Record(begun, f"q-{number}", "invoke", "resume"))
        history.append(Record(ended, f"q-{number}", "ok", "resume", "", 0, {"answer": True}))
    found = case(*RUN, *history, job=COMPLETED)
    found.trail = Trail(events=[Happened(1, 5_000_000, "granted", side, 60)])
    return found


def test_a_grant_of_a_paused_queue_is_found() -> None:
    assert 18 in invariants(paused())
    assert 18 in invariants(paused((0.5, 0.9), (6.0, 6.1)))


@pytest.mark.parametrize("span", [(4.0, 4.1), (0.9, 1.1), (1.1, 7.0)])
def test_a_resume_that_may_have_come_after_the_pause_excuses_it(span: tuple[float, float]) -> None:
    assert 18 not in invariants(paused(span))


def flaky(*, returned_by: str, retries: int) -> Case:
    """A job that failed twice, of which the server has the second end from a child or from a reaper."""
    facts = {"call": 7, "function": "chaos.flaky", "failures": 2}
    history = [ACKNOWLEDGED[0]._replace(value=facts), ACKNOWLEDGED[1]]
    for token in (50, 60):
        history.append(Record(token / 10, "run-1", "invoke", "run", JOB, token, {"call": 7}))
        history.append(Record(token / 10, "run-1", "fail", "run", JOB, token, {"error": "RuntimeError"}))
    history.append(Record(7.0, "run-2", "invoke", "run", JOB, 70, {"call": 7}))
    history.append(Record(7.1, "run-2", "ok", "run", JOB, 70))
    found = case(job={**COMPLETED, "result": 70, "fence": 70, "retry_count": retries})
    returned = [Happened(1, 0, "returned", JOB, 50, "child"), Happened(2, 0, "returned", JOB, 60, returned_by)]
    return replace(found, history=history, trail=Trail(events=[*returned, Happened(3, 0, "granted", JOB, 70)]))


def test_an_accepted_failure_that_is_not_counted_is_found() -> None:
    assert 14 in invariants(flaky(returned_by="child", retries=1))


def test_a_failure_whose_process_was_killed_before_it_reported_need_not_be_counted() -> None:
    assert 14 not in invariants(flaky(returned_by="other", retries=1))
    assert 14 not in invariants(flaky(returned_by="child", retries=2))


def test_a_dependant_whose_enqueue_never_returned_may_keep_its_guard() -> None:
    key = "{jobfleet:default:0}:ready:2"
    found = case(*RUN, job=COMPLETED)
    found.final |= {"left": {key: 1}, "guarded": {OTHER: key}}

    assert invariants(found) == set()


def test_an_acknowledged_dependant_may_not_keep_its_guard() -> None:
    key = "{jobfleet:default:0}:ready:2"
    found = case(*RUN, job=COMPLETED)
    found.final |= {"left": {key: 1}, "guarded": {JOB: key}}

    assert invariants(found) == {28}


def test_a_dependant_may_keep_a_guard_whose_lifting_the_fault_was_allowed_to_lose() -> None:
    key = "{jobfleet:default:0}:ready:2"
    for windows, violated in (([[1.0, 2.0]], set()), ([[5.0, 6.0]], {24, 28})):
        found = case(job={**COMPLETED, "status": "blocked"}, windows=windows)
        found.final |= {"left": {key: 1}, "guarded": {JOB: key}}

        assert invariants(found) == violated


def test_keys_that_stay_are_found() -> None:
    found = case(*RUN, job=COMPLETED)
    found.final["left"] = {"lease": 1}

    assert invariants(found) == {28}
