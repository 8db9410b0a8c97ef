"""What a simulated run does: each fault acts as the real one, and time, lifetimes and processes are virtual."""

from __future__ import annotations

from collections import Counter
from typing import Any

import pytest

from jobfleet.payloads.payloads import IDENTITY
from tests.simulation.beside import (
    OUTBOX,
    OUTBOXES,
    PAYLOADS,
    RETENTION,
    STORE,
    STREAMS,
    Found,
    Reading,
    Store,
    judged,
)  # fmt: skip
from tests.simulation.ledger import Known, Ledger
from tests.simulation.plan import Outcome, Plan, Run, Step
from tests.simulation.server import REFUSALS
from tests.simulation.world import simulate
from tests.support.chaos.trail import Happened

SECOND = 1_000_000
LEASE = 6
LONG: list[list[Any]] = [["sleep", 12.0], ["effect", "done"]]


def outcome(
    *steps: Step, workers: int = 1, children: int = 1, seconds: float = 8, settings: Any = (), **options: Any
) -> Outcome:
    plan = Plan(
        5, workers, children, 1, {"lease": float(LEASE), "slots": 2, **dict(settings)}, steps, round(seconds * SECOND)
    )
    return simulate(plan, quiet_for=4.0, **options)


def enqueue(at: float, job: str, acts: list[list[Any]], **options: Any) -> Step:
    return Step(round(at * SECOND), "producer.1", "enqueue", {"id": job, "acts": acts, **options})


def step(at: float, actor: str, verb: str, **args: Any) -> Step:
    return Step(round(at * SECOND), actor, verb, args)


def runs_of(found: Outcome, job: str) -> list[Run]:
    return [run for run in found.runs if run.job.endswith(f".{job}")]


def ends(found: Outcome, job: str) -> list[str]:
    return [run.ended for run in runs_of(found, job)]


def test_a_job_is_due_in_virtual_time_and_its_result_ends_in_it() -> None:
    found = outcome(enqueue(1, "a", [["effect", "x"]], delay=120.0, result_ttl=60.0), seconds=200)
    (run,) = runs_of(found, "a")
    assert 121 * SECOND <= run.started_us < 123 * SECOND
    assert [what for _, what in run.effects] == ["x"]
    assert not any(":value:" in key or ":answer:" in key for key in found.state)  # they lived for a minute
    assert found.ends["{sim:default:0}:result:default.0.a"] == pytest.approx(86_400 - 85, abs=10)  # the id, for a day


def test_a_killed_child_writes_nothing_and_its_job_runs_again_at_once() -> None:
    found = outcome(enqueue(1, "a", LONG), step(3, "worker.1", "kill_child", child=0))
    first, second = runs_of(found, "a")
    assert (first.ended, first.ended_us, first.effects) == ("died", None, ())
    assert (second.ended, second.attempt) == ("returned", 2)
    assert second.fence > first.fence
    assert second.started_us < 5 * SECOND
    assert any("child.died" in line for line in found.logs)


def test_a_lost_machine_is_noticed_by_the_end_of_its_lease() -> None:
    found = outcome(
        enqueue(1, "a", LONG), step(3, "worker.1", "kill_worker"), step(3.1, "worker.2", "start_worker"), workers=1
    )
    first, second = runs_of(found, "a")
    assert (first.worker, second.worker, second.ended) == ("worker.1", "worker.2", "returned")
    assert LEASE * SECOND < second.started_us < (5 + 2 * LEASE) * SECOND


def test_a_frozen_worker_is_held_back_while_time_passes() -> None:
    found = outcome(
        enqueue(1, "a", LONG),
        step(2, "worker.1", "freeze", whole=True),
        step(3, "worker.2", "start_worker"),
        step(40, "worker.1", "thaw", whole=True),
        seconds=45,
    )
    first, second = runs_of(found, "a")
    assert (first.worker, second.worker, second.ended) == ("worker.1", "worker.2", "returned")
    assert first.ended_us is not None
    assert first.ended_us >= 40 * SECOND  # its code went on, and the late ending was refused
    assert any("lease" in line or "lost" in line for line in found.logs)


def test_a_partition_ends_no_run_and_its_machine_loses_its_jobs() -> None:
    found = outcome(
        enqueue(1, "a", LONG),
        step(2, "network", "partition", machine="worker.1"),
        step(2.5, "worker.2", "start_worker"),
        step(30, "network", "mend", machine="worker.1", reset=True),
        seconds=35,
    )
    assert {run.worker for run in runs_of(found, "a")} == {"worker.1", "worker.2"}
    assert sum(run.ended == "returned" for run in runs_of(found, "a")) >= 1


@pytest.mark.parametrize("fault", ["drop_reply", "late_request", "drop_request"])
def test_a_settle_whose_exchange_is_disturbed_counts_once(fault: str) -> None:
    found = outcome(
        enqueue(1, "before", []),  # so that the server knows the script
        step(2, "network", fault, script="settle", silent=True),
        enqueue(3, "a", [["effect", "x"]]),
        seconds=15,
    )
    assert ends(found, "a") == ["returned"]
    assert any(fault in line for line in found.trace)
    settles = [line for line in found.trace if "settle:settled" in line]
    assert len(settles) - 1 == (1 if fault == "drop_request" else 2)


@pytest.mark.parametrize("when", ["sending", "sent", "replied"])
def test_a_child_that_dies_at_its_settle_has_settled_or_runs_again(when: str) -> None:
    found = outcome(
        enqueue(1, "before", []),  # so that the server knows the script
        step(2, "network", "kill_at", machine="worker.1", script="settle", when=when),
        enqueue(3, "a", [["effect", "x"]]),
        seconds=15,
    )
    assert ends(found, "a") == ["returned"] * (2 if when == "sending" else 1)
    assert any("child.died" in line for line in found.logs)


def test_a_failover_without_the_last_writes_loses_just_these() -> None:
    kept = [enqueue(2, "a", [["effect", "x"]], delay=30.0)]
    found = outcome(*kept, enqueue(3.0, "b", [], delay=60.0), step(3.002, "server", "failover", lost=1), seconds=6)
    assert ends(found, "a") == ["returned"]
    assert ends(found, "b") == []
    assert found.acknowledged["default.0.b"][0][3] == {"id": "default.0.b", "created": True}
    assert any("server lost 1 writes" in line for line in found.trace)


@pytest.mark.parametrize(
    ("fault", "args"),
    [
        *((fault, {}) for fault in ("readonly", "loading", "restart", "script_flush", "out_of_memory")),
        *(("unready", {"word": word.upper()}) for word in REFUSALS if word not in {"readonly", "loading"}),
    ],
)
def test_a_server_that_refuses_for_a_while_ends_nothing(fault: str, args: dict[str, Any]) -> None:
    found = outcome(
        enqueue(1.5, "a", [["sleep", 4.0], ["effect", "x"]]),
        step(3, "server", fault, **args),
        enqueue(3.5, "b", []),
        seconds=10,
    )
    assert ends(found, "a") == ["returned"]
    answer = found.acknowledged["default.0.b"][0][3]
    refused = fault == "out_of_memory"
    assert (answer == "refused FleetFull") is refused
    assert ends(found, "b") == ([] if refused else ["returned"])


def test_a_plain_function_blocks_in_virtual_time_and_is_interrupted() -> None:
    found = outcome(
        enqueue(1, "a", [["sleep", 2.0], ["step", "s", 1.0]], function="blocking"),
        enqueue(1, "b", [["sleep", 1000.0]], function="blocking"),
        step(4, "operator", "cancel", job="b"),
    )
    (a,), (b,) = runs_of(found, "a"), runs_of(found, "b")
    assert [what for _, what in a.effects] == ["step:s"]
    assert b.ended == "cancelled"
    assert b.ended_us is not None
    assert b.ended_us < 5.1 * SECOND


def test_clocks_jump_and_drift_and_the_fleet_stays_right() -> None:
    found = outcome(
        enqueue(1, "a", LONG),
        step(3, "clock", "jump", machine="server", by_us=600 * SECOND),
        step(4, "clock", "jump", machine="worker.1", by_us=-3600 * SECOND),
        step(4, "clock", "drift", machine="worker.1", rate=0.05),
        seconds=20,
    )
    assert ends(found, "a") == ["returned"]


def test_an_orphan_gives_its_jobs_back_and_a_stopped_worker_ends_them() -> None:
    found = outcome(
        enqueue(1, "a", [["sleep", 30.0]]),
        step(3, "worker.1", "kill_worker", children=False),
        step(3.1, "worker.2", "start_worker"),
        enqueue(20, "b", [["sleep", 4.0]], queue="few"),
        step(21, "worker.2", "stop_worker"),
        seconds=50,
    )
    assert any("worker.orphaned" in line for line in found.logs)
    assert ends(found, "a")[-1] == "returned"
    assert {run.worker for run in runs_of(found, "a")} >= {"worker.1", "worker.2"}
    assert ends(found, "b") == ["returned"]


def test_each_verb_of_producers_and_operators_has_an_answer() -> None:
    def by(at: float, actor: str, verb: str, **args: Any) -> Step:
        return step(at, actor, verb, **args)

    slow: list[list[Any]] = [["sleep", 1.0], ["effect", "end"]]
    found = outcome(
        by(1, "producer.1", "enqueue_many", jobs=[{"id": "m1"}, {"id": "m2", "priority": "HIGH"}]),
        by(1, "producer.1", "flow", jobs=[{"id": "f1", "acts": slow}, {"id": "f2", "after": [0]}]),
        by(1, "producer.1", "cron", name="tick", expression="@every 3s", job={"acts": slow}),
        by(1, "operator", "limit", name="api", concurrency=1),
        by(1, "producer.1", "enqueue", id="w", acts=[["wait", "go", 60.0]]),
        by(2, "producer.2", "signal", job="w", name="go", value=7),
        by(2, "producer.2", "wait", job="w", timeout=20.0),
        *(enqueue(2, name, [], delay=100.0) for name in ("e", "c", "p", "v")),
        by(3, "operator", "edit", job="e", acts=slow),
        by(3, "operator", "cancel", job="c"),
        by(3, "operator", "purge", job="p"),
        by(3, "operator", "move", job="v", queue="other"),
        enqueue(3, "d", [["fail_for_good"]]),
        by(6, "operator", "replay", job="d"),
        by(10, "operator", "rescue", canary=[1]),
        by(12, "operator", "pause", queue="few"),
        by(14, "operator", "resume", queue="few"),
        by(15, "operator", "forget", job="m1"),
        seconds=20,
    )
    answers = {(name, verb): answer for name, rows in found.acknowledged.items() for _, _, verb, answer in rows}
    assert [answers["default.0.m1", "enqueue"]["created"], answers["default.0.m2", "enqueue"]["created"]] == [
        True,
        True,
    ]
    assert answers["default.0.w", "wait"] == "completed"
    assert [what for _, what in runs_of(found, "w")[-1].effects] == ["signal:go:7"]
    assert runs_of(found, "f2")[0].started_us > (runs_of(found, "f1")[0].ended_us or 0)
    assert [what for run in runs_of(found, "e") for _, what in run.effects] == ["end"]
    fired = {run.job for run in found.runs if run.job.startswith("default.") and run.job not in found.acknowledged}
    assert 5 <= len(fired) <= 8
    for name, verb in (("c", "cancel"), ("e", "edit"), ("w", "signal"), ("m1", "forget")):
        assert answers[f"default.0.{name}", verb] is True
    assert answers["default.0.v", "move"]["id"].startswith("other.0.")
    assert answers["queue:few", "pause"] is True
    assert len(runs_of(found, "d")) >= 2
    assert not any(isinstance(answer, str) and answer.startswith(("unknown", "refused")) for answer in answers.values())


def test_a_mutant_replaces_the_text_of_a_script() -> None:
    seen: list[str] = []
    found = outcome(
        enqueue(1, "a", []),
        seconds=3,
        mutants={"claim": "return redis.error_reply('ERR planted')"},
        observer=lambda _us, script, _keys, _args, _reply: seen.append(script),
        quiet_most=10.0,
    )
    assert runs_of(found, "a") == []
    assert not found.is_quiet
    assert "claim" in seen
    assert "settle" not in seen


def test_a_reader_that_comes_back_gets_each_chunk_of_all_runs_once() -> None:
    found = outcome(
        enqueue(1, "a", [["emits", 5, 0.5], ["fail", 1]]),
        step(2, "producer.2", "read", job="a", pieces=2),
        step(2.5, "server", "restart"),
        seconds=12,
    )
    first, second = (run.fence for run in runs_of(found, "a"))
    (reading,) = found.beside.readings
    assert reading.is_over
    assert [row[:3] for row in reading.rows] == [(run, n, [run, n]) for run in (first, second) for n in range(1, 6)]
    assert [row[4] for row in reading.rows] == [False] * 5 + [True] + [False] * 4


def test_a_large_argument_waits_for_its_store_and_goes_with_its_job() -> None:
    found = outcome(
        enqueue(1, "a", [["large", 3000], ["effect", "x"]], result_ttl=1.0),
        step(1.0005, "store", "unmount", how="empty", machine="worker.1", for_us=4 * SECOND),
        enqueue(2, "b", [["large", 10]]),
        step(20, "operator", "forget", job="b"),
        settings=STORE,
        quiet_most=300.0,
    )
    run = runs_of(found, "a")[-1]
    assert (run.ended, run.effects[0][1]) == ("returned", "x")
    assert run.started_us > 5 * SECOND
    assert list(found.beside.store.objects) == [IDENTITY]


def test_a_committed_row_is_a_job_and_another_is_none() -> None:
    found = outcome(
        step(1, "producer.1", "outbox", jobs=[{"id": "before"}]),  # so that the server knows the scripts
        step(2, "producer.1", "outbox", jobs=[{"id": "a"}, {"id": "b", "depends_on": ["a"]}]),
        step(1, "producer.1", "outbox", jobs=[{"id": "c"}], ends="rollback"),
        step(1, "producer.1", "outbox", jobs=[{"id": "d"}], ends="die"),
        step(1.5, "network", "kill_at", machine="reaper.1", script="enqueue_plain", when="sent"),
        step(4, "reaper.1", "start_worker"),
        step(5, "database", "close_database"),
        settings=OUTBOX,
    )
    assert [ends(found, name) for name in "abcd"] == [["returned"], ["returned"], [], []]
    assert any("kill_sent" in line for line in found.trace)
    assert found.beside.rows == {}


def test_the_judge_sees_what_is_wrong_beside_redis() -> None:
    found = outcome(enqueue(1, "a", [["emits", 2, 0.1]]), step(1.1, "producer.2", "read", job="a"), seconds=4)
    (run,) = runs_of(found, "a")
    ledger = Ledger()
    ledger.jobs[run.job] = Known(run.job, "", "completed")
    ledger.events.append(Happened(1, 0, "ended", run.job, run.fence, "child", "completed"))
    store = Store(lambda: 0)
    lost, orphan = (f"sim/20/default.0.{name}~r{'0' * 32}" for name in "bc")
    store.objects[orphan] = (b"", 0)
    beside = Found(10**9, store, ["default.0.d"], [run.job], {"default.0.e": ""}, [Reading(run.job) for _ in range(4)])
    good = (run.fence, 1, [run.fence, 1], 0, False), (run.fence, 2, [run.fence, 2], 0, False)
    rows = [good, (good[0], good[0], good[1]), (good[1],), (good[0],)]
    for reading, seen in zip(beside.readings, rows, strict=True):
        reading.rows, reading.is_over = list(seen), True
    garbled = run._replace(fence=0, effects=((0, "garbled argument"),))

    breaches = [one.invariant for one in judged(beside, [run, garbled], {"key": lost}, ledger)]
    assert [one.what for one in judged(beside._replace(readings=beside.readings[:1]), [run], {}, ledger)] == [
        f"{run.job} is a job, though its row was rolled back",
        "the row of default.0.d was committed, and it never became a job",
        "the row of default.0.e still waits",
        f"{orphan} is in the store, and nothing has referred to it for long: it is 1000 s old",
    ]
    assert Counter(breaches) == {STREAMS: 3, OUTBOXES: 3, PAYLOADS: 2, RETENTION: 1}
    store.erased.add(lost)
    assert [one.invariant for one in judged(beside, [run], {"key": lost}, ledger)].count(PAYLOADS) == 0
