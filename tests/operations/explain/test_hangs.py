"""Reasons when event loops do not turn, and which jobs are read then."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from jobfleet import Fleet, Job
from jobfleet.codec import encode
from jobfleet.model.result import ReasonCode
from jobfleet.operations.explain import snapshot
from jobfleet.operations.workers import ChildInfo
from jobfleet.store.calls import inspect
from jobfleet.store.calls.lease import claim
from jobfleet.store.calls.presence import beat
from tests.operations.explain.test_reasons import HANGS, HUNG, ID, W1, W2, reasons, running, waiting


def child(number: int, state: str = "hung", **fields: Any) -> ChildInfo:
    return replace(HANGS, id=f"box:11:aa.{number}", state=state, **fields)


def told(*children: ChildInfo, **blocking: tuple[str, ...]) -> str | None:
    """The reason why a job waits for a worker with these children; `blocking` has jobs by `c` and a child's number."""
    jobs = {f"box:11:aa.{name[1:]}": ids for name, ids in blocking.items()}
    seen = replace(waiting(), workers=(replace(HUNG, processes=children), W2), held=jobs)
    found = reasons(seen).get(ReasonCode.HUNG)
    return found.text.partition(" Await")[0] if found else None


def test_children_that_hang_are_told_if_no_other_one_is_free() -> None:
    full, free = child(3, "running", running=10, hung_for=0.0), child(3, "running", running=9, hung_for=0.0)

    assert told(child(1), child(2, hung_for=20.0), c1=("mail.0.b",)) == (
        "All 2 children that could run it hang. The event loop of box:11:aa.2 does not turn for 22 s. "
        "mail.0.b has blocked the event loop of box:11:aa.1 for 16 s."
    )
    assert told(child(1), full, c1=("mail.0.b", "mail.0.c")) == (
        "Of 2 children that could run it, 1 hangs, the others are full. "
        "mail.0.b, or one of mail.0.c, has blocked the event loop of box:11:aa.1 for 16 s."
    )
    assert told(child(1), free) is None
    assert told(child(1), child(3, "loading", running=0, hung_for=0.0)) is None


def test_a_worker_that_does_not_report_its_children_may_run_it() -> None:
    seen = replace(waiting(), workers=(HUNG, replace(W1, id="box:13:cc")))

    assert list(reasons(seen)) == [ReasonCode.NEXT]


def test_a_job_beside_the_one_that_blocks_is_told_which_one_it_is() -> None:
    def first(*held: str, hung_for: float = 14.0) -> str:
        worker = replace(HUNG, processes=(child(2, hung_for=hung_for),))
        seen = replace(running(), workers=(worker, W2), held={"box:11:aa.2": held})
        return reasons(seen)[ReasonCode.BLOCKING].text.partition(", so")[0]

    assert first("mail.0.b", ID) == "It, or one of mail.0.b, has blocked the event loop of its child for 16 s"
    assert first("mail.0.b") == "mail.0.b has blocked the event loop of its child for 16 s"
    assert first(hung_for=0.0) == "The event loop of its child does not turn"
    assert first(ID, hung_for=0.0) == "It blocks the event loop of its child"
    assert reasons(replace(running(), workers=(replace(HUNG, is_gone=True),))).keys() == {
        ReasonCode.RUNNING, ReasonCode.WORKER_GONE,
    }  # fmt: skip


def test_the_jobs_that_may_block_are_those_on_the_event_loop_of_any_queue_of_the_worker(fleet: Fleet) -> None:
    keys = fleet.context.keys
    account = encode({"state": "running", "queues": ["default", "bulk"], "slots": 10, "running": 2,
                      "processes": [["w1.0", 7, "hung", 2, 10, 1, 0.5, 14.0]]})  # fmt: skip
    published = {name: encode({"run_in": name.partition(".")[2]}) for name in ("app.async", "app.thread")}
    fleet.store.run(beat(keys, "w1", account=account, gone_us=20_000_000, serves=["bulk"], functions=published))
    blocks = fleet.enqueue(Job("b", "app.async", queue="bulk"))
    beside = fleet.enqueue(Job("t", "app.thread", queue="bulk"))
    call = claim(keys.lane_of(blocks), child="w1.0", nonce=1, lease_us=60_000_000, limit=2)
    assert len(fleet.store.run(call).grants) == 2
    waits = fleet.enqueue(Job("w", "app.async"))

    found = {reason.code: reason for job_id in (waits, beside) for reason in fleet.explain(job_id).reasons}

    assert found[ReasonCode.HUNG].facts["jobs"] == [blocks]
    assert found[ReasonCode.BLOCKING].facts["jobs"] == (blocks,)
    since = found[ReasonCode.HUNG].facts["since"]
    assert isinstance(since, float)
    assert since >= 14.0


def hung(fleet: Fleet, *, running: int, queues: list[str]) -> None:
    """A worker whose only child hangs."""
    child = ["w1.0", 7, "hung", running, 100, 1, 0.5, 14.0]
    account = encode({"state": "running", "queues": queues, "slots": 100, "running": running, "processes": [child]})
    functions = {"app.async": encode({"run_in": "async"})}
    fleet.store.run(beat(fleet.context.keys, "w1", account=account, gone_us=20_000_000, functions=functions))


def claimed(fleet: Fleet, child: str, count: int, *, lease_us: int) -> list[str]:
    """Jobs that a child runs."""
    jobs = (Job("x", "app.async") for _ in range(count))
    ids = [receipt.id for receipt in fleet.enqueue_many(jobs)]
    lane = fleet.context.keys.lane_of(ids[0])
    taken = 0
    while taken < count:
        taken += len(fleet.store.run(claim(lane, child=child, nonce=taken + 1, lease_us=lease_us, limit=50)).grants)
    return ids


def test_the_job_that_blocks_is_found_behind_many_others(fleet: Fleet, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(snapshot, "ROWS_READ", 20)
    hung(fleet, running=1, queues=["default"])
    claimed(fleet, "w2.0", 55, lease_us=60_000_000)
    (culprit,) = claimed(fleet, "w1.0", 1, lease_us=90_000_000)
    waits = fleet.enqueue(Job("w", "app.async"))

    found = {reason.code: reason for reason in fleet.explain(waits).reasons}

    assert found[ReasonCode.HUNG].facts["jobs"] == [culprit]


def test_nobody_is_named_while_jobs_of_the_child_are_not_found(fleet: Fleet, monkeypatch: pytest.MonkeyPatch) -> None:
    hung(fleet, running=2, queues=["default", "bulk"])
    (known,) = claimed(fleet, "w1.0", 1, lease_us=60_000_000)
    waits = fleet.enqueue(Job("w", "app.async"))

    def named() -> object:
        found = {reason.code: reason for reason in fleet.explain(waits).reasons}
        return found[ReasonCode.HUNG].facts["jobs"]

    assert named() == [known]  # all lanes were read: there is no other one
    monkeypatch.setattr(snapshot, "LANES_READ", 1)
    assert named() == []
    hung(fleet, running=1, queues=["default", "bulk"])
    assert named() == [known]


def test_no_envelope_of_another_child_is_read(fleet: Fleet) -> None:
    hung(fleet, running=1, queues=["default"])
    claimed(fleet, "w2.0", 3, lease_us=60_000_000)
    claimed(fleet, "w1.0", 1, lease_us=60_000_000)
    (lane,) = fleet.context.lanes_of("default", 1)

    _, rows = fleet.store.run(inspect.running(lane, bare=True))

    assert [row.run.child for row in rows] == ["w2.0"] * 3 + ["w1.0"]
    assert {(row.envelope, row.progress, row.tries) for row in rows} == {(b"", b"", "")}
