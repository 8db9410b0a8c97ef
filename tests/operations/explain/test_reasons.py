"""Reasons from snapshots: each code once as users see it, and the cases beside it."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any, NamedTuple

import pytest

from jobfleet import JobResult, JobStatus
from jobfleet.model.result import JobDetails, Parent, Reason, ReasonCode
from jobfleet.operations.explain.explain import RUNNING, WAITING, explain
from jobfleet.operations.explain.snapshot import Snapshot
from jobfleet.operations.workers import ChildInfo, WorkerInfo
from jobfleet.retry.decision import Policy
from jobfleet.retry.tries import Tries
from jobfleet.store.calls.inspect import Explained, Grouped, InSequence, Limited
from jobfleet.store.calls.run import Awaited
from jobfleet.store.records import InRun, InWait, KindSeen, RunRecord, Unknown
from tests.operations.explain.gated import GATED, QUEUE_RATE, STOPPED, STOPPED_TEXT, UNDO, UNDO_TEXT

pytestmark = pytest.mark.usefixtures("in_utc")
PAGE = Path(__file__).parents[3] / "docs" / "howto" / "explain.md"
S = 1_000_000
NOW = 1_795_615_200 * S  # 2026-11-25 14:00:00 UTC
ID = "mail.0.a"
W1 = WorkerInfo("box:11:aa", queues=("mail", "default"), slots=10, running=3, state="running")
W2 = WorkerInfo("box:12:bb", queues=("bulk",), slots=10, running=0, state="running")
KNOWN = replace(W1, kinds=("k1",))
WAITS = JobResult[Any](id=ID, status=JobStatus.QUEUED, function="mail.send", queue="mail", attempt=0)


def at(seconds: float) -> datetime:
    return datetime.fromtimestamp(NOW / S + seconds, UTC)


def waiting(
    due: float = 0, *, tries: str = "", error: str | None = None, job: JobResult[Any] = WAITS, **lane: Any
) -> Snapshot:
    status = JobStatus.QUEUED if due <= 0 else JobStatus.RETRYING if tries else JobStatus.SCHEDULED
    return Snapshot(
        ID,
        Explained(NOW, InWait(2, NOW + round(due * S), tries, b"", b""), **lane),
        job=replace(job, status=status, error=error),
        tries=Tries.parse(tries),
        policy=Policy(max_retries=5),
        workers=(W1, W2),
        functions=frozenset({"mail.send", "mail.render"}),
    )


def running(*, cancel: str = "", cancel_at: int = 0, stage: str = "", **lane: Any) -> Snapshot:
    run = RunRecord(7, "box:11:aa.2", NOW - 180 * S, 30 * S, 2, cancel, cancel_at, stage)
    job, found = replace(WAITS, status=JobStatus.RUNNING, attempt=2, runs=2), InRun(run, b"", "1:0:0:0:0", b"")
    return replace(waiting(), lane=Explained(NOW, found, **{"deadline": NOW + 21 * S, **lane}), job=job)


def ended(status: JobStatus, **fields: Any) -> Snapshot:
    job = replace(WAITS, **{"status": status, "completed_at": at(-180), "attempt": 1, "runs": 1, **fields})
    return replace(waiting(), lane=Explained(NOW, Unknown()), job=job)


def replace_group(**changes: Any) -> Grouped:
    return Grouped("tenant-7", "", 0, "", Limited(0, 0, 0), (), 0, 1)._replace(**changes)


def behind_head(place: InSequence) -> Snapshot:
    seen = waiting(group=replace_group(), sequence=place)
    return replace(seen, job=replace(WAITS, status=JobStatus.BLOCKED))


HANGS = ChildInfo("box:11:aa.2", 7, "hung", 1, 10, 0.1, None, None, hung_for=14.0)
HUNG = replace(W1, running=1, beat=at(-2), processes=(HANGS,))


class Case(NamedTuple):
    code: ReasonCode
    seen: Snapshot
    text: str


BLOCKED = replace(
    waiting(),
    job=replace(WAITS, status=JobStatus.BLOCKED),
    parents=3,
    unmet=(Parent("bulk.0.q", "failed"), Parent("mail.0.p", "running")),
    unmet_count=2,
)
CASES = [
    Case(
        ReasonCode.BLOCKED,
        BLOCKED,
        "Waits for 2 of 3 jobs: bulk.0.q (failed), mail.0.p (running). It waits for a replay of bulk.0.q ('jobfleet "
        "dead replay bulk.0.q'), and is cancelled when the dead letter and the result of that job are gone.",
    ),
    Case(
        ReasonCode.SEQUENCE,
        behind_head(InSequence("mail.0.h", "waiting", NOW + 41 * S, 4)),
        "Waits behind mail.0.h, the head of its sequence 'tenant-7', which is due at 2026-11-25 14:00:41 +00:00, in "
        "41 s; 3 jobs between them.",
    ),
    Case(ReasonCode.SCHEDULED, waiting(41), "Scheduled for 2026-11-25 14:00:41 +00:00: due in 41 s."),
    Case(
        ReasonCode.SLEEPING,
        waiting(41, last_wait=f"{NOW + 41 * S} "),
        "Sleeping until 2026-11-25 14:00:41 +00:00: continues in 41 s.",
    ),
    Case(
        ReasonCode.AWAITING_SIGNAL,
        waiting(41, last_wait=f"{NOW + 41 * S} approved"),
        "Waiting for signal approved until 2026-11-25 14:00:41 +00:00, for 41 s more; "
        "'jobfleet signal mail.0.a approved VALUE' sends it.",
    ),
    Case(
        ReasonCode.RETRYING,
        waiting(12, tries="2:0:0:0:0", error="ConnectionError: no route to host"),
        "Waiting for retry 2 of 5, due in 12 s; its last run: ConnectionError: no route to host.",
    ),
    Case(
        ReasonCode.PARKED,
        waiting(
            8,
            tries=f"0:0:0:{NOW - 180 * S}:0",
            error="no worker knows 'mail.sned'; did you mean 'mail.send'?",
            job=replace(WAITS, function="mail.sned"),
        ),
        "Parked 3 min ago: no worker knows 'mail.sned'; did you mean 'mail.send'? "
        "Tried again in 8 s; goes to the dead letters in 57 min.",
    ),
    Case(
        ReasonCode.PAUSED,
        waiting(paused_by="ann", paused_at=NOW - 180 * S),
        "Queue 'mail' was paused by ann 3 min ago; 'jobfleet queues resume mail' opens it.",
    ),
    Case(
        ReasonCode.PAUSED_FUNCTION,
        waiting(functions=f"~bill ann@1\nmail.send ann@{NOW - 180 * S} it sends twice"),
        "Function 'mail.send' was paused by ann 3 min ago (it sends twice); "
        "'jobfleet queues resume mail --function mail.send' lets it go on.",
    ),
    Case(
        ReasonCode.GROUP_PAUSED,
        waiting(group=replace_group(paused_by="ann", paused_at=NOW - 180 * S, paused_reason="their database is down")),
        "Group 'tenant-7' was paused by ann 3 min ago (their database is down); 'jobfleet queues resume mail --group "
        "tenant-7' opens it.",
    ),
    Case(
        ReasonCode.GROUP_FULL,
        waiting(group=replace_group(limit=Limited(4, 4, 0), holders=("mail.0.b", "mail.0.c", "mail.0.d", "mail.0.e"))),
        "Group 'tenant-7' is full: 4 of 4 run, held by mail.0.b, mail.0.c, mail.0.d, mail.0.e.",
    ),
    Case(
        ReasonCode.GROUP_RATE,
        waiting(group=replace_group(limit=Limited(0, 0, NOW + 6 * S))),
        "Group 'tenant-7' has used up its rate: its next job may start in 6 s.",
    ),
    *(Case(code, replace(waiting(), gates=(gate,)), text) for code, gate, text in GATED),
    Case(ReasonCode.QUEUE_FULL, waiting(limit=Limited(10, 10, 0)), "Queue 'mail' is full: 10 of 10 run."),
    Case(ReasonCode.QUEUE_RATE, waiting(limit=Limited(0, 3, NOW + S // 10)), QUEUE_RATE),
    Case(
        ReasonCode.UNKNOWN_FUNCTION,
        waiting(job=replace(WAITS, function="mail.sned")),
        "No worker has published 'mail.sned'; did you mean 'mail.send'? The job is parked until one does.",
    ),
    Case(
        ReasonCode.NEWER_SCHEMA,
        replace(waiting(), details=JobDetails(job=WAITS, schema_version=3, function_version=2)),
        "'mail.send' needs schema version 3; the workers have 2. Upgrade workers before producers. "
        "The job is parked until a worker has it.",
    ),
    Case(
        ReasonCode.ELSEWHERE,
        replace(waiting(), workers=(KNOWN, W2), kinds=(KindSeen("k2", W2.id, {"": "bulk", "mail.send": "mail"}),)),
        "box:12:bb knows 'mail.send' and does not serve the queue 'mail'; those that serve it do not know the function."
        " 'jobfleet move mail.0.a --to bulk' moves the job; or start a worker with its module and '-Q mail'.",
    ),
    Case(
        ReasonCode.UNSERVED,
        replace(waiting(), workers=(W2,)),
        "No worker serves the queue 'mail'; there are box:12:bb (bulk). Start one with '-Q mail'.",
    ),
    Case(
        ReasonCode.QUIET,
        replace(waiting(), workers=(replace(W1, state="quiet", state_by="ann"), W2)),
        "No worker that serves its queue takes new jobs: box:11:aa is quiet by ann; "
        "'jobfleet workers resume box:11:aa' lets it go on.",
    ),
    Case(
        ReasonCode.HUNG,
        replace(waiting(), workers=(HUNG, W2), held={"box:11:aa.2": ("mail.0.b",)}),
        "The only child that could run it hangs. mail.0.b has blocked the event loop of box:11:aa.2 for 16 s. Await in "
        "its 'async def', or make it a plain 'def', which runs in a thread; 'jobfleet workers stacks box:11:aa.2' "
        "shows where it is.",
    ),
    Case(
        ReasonCode.BUSY,
        replace(waiting(), workers=(replace(W1, running=10), replace(W1, id="box:13:cc", running=10), W2)),
        "No free slot: 20 of 20 are taken at 2 workers that could run it.",
    ),
    Case(
        ReasonCode.BEHIND,
        replace(waiting(), lane=Explained(NOW, InWait(2, NOW, "", b"", b""), due=(4, 10, 2_400, 7), rank=1_200)),
        "1,214 jobs ahead of it: 14 more urgent, 1,200 of its own priority.",
    ),
    Case(ReasonCode.NEXT, waiting(), "Next in line: a worker should claim it now."),
    Case(ReasonCode.EXPIRING, waiting(meta=f"x {NOW + 180 * S}"), "Expires in 3 min unless it has started by then."),
    Case(
        ReasonCode.LOCK,
        replace(running(), awaited=Awaited(7, NOW - 12 * S, 1, "crm", ("mail.0.b",))),
        "Waits for the lock 'crm' (limit 1) for 12 s, held by mail.0.b.",
    ),
    Case(
        ReasonCode.RUNNING,
        running(),
        "Running for 3 min on box:11:aa.2, run 2; its lease ends in 21 s unless it is renewed.",
    ),
    Case(
        ReasonCode.BLOCKING,
        replace(running(), workers=(HUNG, W2), held={"box:11:aa.2": (ID,)}),
        "It has blocked the event loop of its child for 16 s, so that the other coroutines there do not go on. Await "
        "in its 'async def', or make it a plain 'def', which runs in a thread; 'jobfleet workers stacks box:11:aa.2' "
        "shows where it is.",
    ),
    Case(
        ReasonCode.SUSPECT,
        replace(running(), tries=Tries.parse("1:0:0:0:2:13")),
        "A suspect: it has witnessed 2 deaths of a process, the last as one of 13. It shares a process with 3 other "
        "suspects at most, and may wait for a place in that child.",
    ),
    Case(
        ReasonCode.CANCELLING,
        running(cancel="ann", cancel_at=NOW - 20 * S, stage="raised"),
        "Asked to stop by ann 20 s ago; it has not ended yet (stage: raised).",
    ),
    Case(
        ReasonCode.WORKER_GONE,
        replace(running(), workers=(replace(W1, is_gone=True, beat=at(-25)), W2)),
        "Its worker box:11:aa is gone, last heard of 25 s ago; the job is run again when its lease has ended.",
    ),
    Case(
        ReasonCode.LEASE_EXPIRED,
        running(deadline=NOW - 2 * S),
        "Its lease ended 2 s ago: the next worker or reaper that looks takes it back.",
    ),
    Case(
        ReasonCode.COMPLETED,
        ended(JobStatus.COMPLETED, duration=timedelta(seconds=1.24), worker="box:11:aa.2"),
        "Completed 3 min ago after 1.24 s on box:11:aa.2.",
    ),
    Case(
        ReasonCode.FAILED,
        ended(JobStatus.FAILED, error="no such address", error_class="ValueError"),
        "Failed 3 min ago on run 1: ValueError: no such address; 'jobfleet dead replay mail.0.a' runs it again.",
    ),
    Case(ReasonCode.CANCELLED, ended(JobStatus.CANCELLED, cancel_requested_by="ann"), "Cancelled by ann 3 min ago."),
    Case(
        ReasonCode.MOVED,
        ended(JobStatus.CANCELLED, cancel_requested_by="ann", moved_to="bulk.0.a.5c1d2e3f40"),
        "Moved by ann 3 min ago: it is bulk.0.a.5c1d2e3f40 now.",
    ),
    Case(ReasonCode.UNDOING, replace(ended(JobStatus.FAILED), undo=UNDO), UNDO_TEXT),
    Case(ReasonCode.FLOW_STOPPED, replace(ended(JobStatus.FAILED), stopped=STOPPED), STOPPED_TEXT),
    Case(ReasonCode.EXPIRED, ended(JobStatus.EXPIRED), "Expired 3 min ago: it was not started in time."),
    Case(
        ReasonCode.UNKNOWN,
        Snapshot(ID, Explained(NOW, Unknown())),
        "No job 'mail.0.a': never enqueued, or its result was deleted.",
    ),
]
by_code = pytest.mark.parametrize("case", CASES, ids=lambda case: case.code)


def reasons(seen: Snapshot) -> dict[ReasonCode, Reason]:
    told = explain(seen).reasons
    assert len({reason.code for reason in told}) == len(told)
    return {reason.code: reason for reason in told}


def texts(seen: Snapshot) -> list[str]:
    return [reason.text for reason in explain(seen).reasons]


@by_code
def test_a_reason_is_told_in_one_line(case: Case) -> None:
    assert reasons(case.seen)[case.code].text == case.text


@by_code
def test_a_reason_is_all_that_is_told_unless_it_goes_beside_others(case: Case) -> None:
    beside = {ReasonCode.EXPIRING: ReasonCode.NEXT}
    beside |= dict.fromkeys((ReasonCode.UNDOING, ReasonCode.FLOW_STOPPED), ReasonCode.FAILED)
    running_too = ("lock", "blocking", "suspect", "cancelling", "worker-gone", "lease-expired")
    beside |= {ReasonCode(code): ReasonCode.RUNNING for code in running_too}

    assert set(reasons(case.seen)) == {case.code} | ({beside[case.code]} if case.code in beside else set())


@by_code
def test_the_page_shows_it_as_it_is_told(case: Case) -> None:
    assert f"| `{case.code}` | {case.text} |" in PAGE.read_text()


def test_every_code_has_its_case() -> None:
    assert [case.code for case in CASES] == [*dict.fromkeys(case.code for case in CASES)]
    assert {case.code for case in CASES} == set(ReasonCode)


def test_a_parked_job_is_told_the_closest_name_of_the_fleet_and_not_of_the_worker_that_parked_it() -> None:
    error = "no worker knows 'mail.sned'; did you mean 'bulk.sned'?"
    seen = waiting(8, tries=f"0:0:0:{NOW - 180 * S}:0", error=error, job=replace(WAITS, function="mail.sned"))
    began = replace(seen, functions=frozenset({"mail.sned"}))  # a worker that knows it has started meanwhile

    told = [reasons(each)[ReasonCode.PARKED].facts["error"] for each in (seen, began)]
    assert told == ["no worker knows 'mail.sned'; did you mean 'mail.send'?", error]


def test_facts_hold_the_numbers_of_the_text() -> None:
    facts = {case.code: reasons(case.seen)[case.code].facts for case in CASES}

    assert facts[ReasonCode.SCHEDULED] == {"due_in": 41.0, "due": at(41)}
    assert facts[ReasonCode.BEHIND] == {"ahead": 1214, "more_urgent": 14, "same": 1200}
    assert facts[ReasonCode.BUSY] == {"running": 20, "slots": 20, "workers": ["box:11:aa", "box:13:cc"]}
    assert facts[ReasonCode.PAUSED] == {"queue": "mail", "by": "ann", "since": 180.0}
    assert facts[ReasonCode.RETRYING]["retry"] == 2
    assert facts[ReasonCode.MOVED]["moved_to"] == "bulk.0.a.5c1d2e3f40"


def test_an_explanation_says_what_the_job_is_and_when_it_was_so() -> None:
    told = explain(waiting())

    assert (told.id, told.status, told.function, told.queue) == (ID, JobStatus.QUEUED, "mail.send", "mail")
    assert told.at == at(0)
    assert str(told) == "Next in line: a worker should claim it now."


def test_all_that_stands_in_the_way_is_told_in_its_order() -> None:
    seen = replace(
        waiting(41, paused_by="-", paused_at=NOW - 5 * S, meta=f"x {NOW + 10 * S}", job=replace(WAITS, function="odd")),
        workers=(),
    )

    assert texts(seen) == [
        "Scheduled for 2026-11-25 14:00:41 +00:00: due in 41 s.",
        "Queue 'mail' was paused 5 s ago; 'jobfleet queues resume mail' opens it.",
        "No worker has published 'odd'. The job is parked until one does.",
        "No worker serves the queue 'mail', nor any other; start one: 'jobfleet worker MODULE -Q mail'.",
        "Expires in 10 s, before it is due.",
    ]


def test_what_is_due_later_is_behind_nobody_and_meets_no_busy_worker() -> None:
    later = waiting(41)
    crowded = replace(later, lane=replace(later.lane, due=(4, 4, 4, 4), rank=9), workers=(replace(W1, running=10),))

    assert set(reasons(crowded)) == {ReasonCode.SCHEDULED}


def test_a_job_that_crashed_waits_for_its_next_run() -> None:
    seen = waiting(5, tries="0:1:0:0:0", error="killed by SIGKILL.")

    assert texts(seen) == ["Waiting for its run after crash 1, due in 5 s; its last run: killed by SIGKILL."]
    assert texts(waiting(5, tries="1:2:0:0:0")) == [
        "Waiting for its next run, after 1 failed run and 2 crashed runs, due in 5 s."
    ]


def test_a_job_that_was_only_preempted_or_replayed_is_scheduled() -> None:
    assert set(reasons(waiting(5, tries="0:0:1:0:0"))) == {ReasonCode.SCHEDULED}


def test_a_retry_that_is_due_stands_in_line_as_any_other() -> None:
    assert set(reasons(waiting(tries="2:0:0:0:0"))) == {ReasonCode.NEXT}


def test_a_parked_job_stays_parked_when_it_is_due_and_names_no_function_twice() -> None:
    seen = waiting(tries=f"0:0:0:{NOW - 7200 * S}:0", job=replace(WAITS, function="mail.sned"))

    assert texts(seen) == [
        "Parked 2 h ago: no worker could run it. Tried again at once; goes to the dead letters then."
    ]


def test_only_a_first_start_can_expire_and_only_at_a_time_that_can_be_read() -> None:
    meta = f"x {NOW - 3 * S}"

    assert texts(waiting(meta=meta))[-1] == "Expired 3 s ago: it will not be started any more."
    assert set(reasons(waiting(tries="1:0:0:0:0", meta=meta))) == {ReasonCode.NEXT}
    assert set(reasons(waiting(meta="x soon"))) == {ReasonCode.NEXT}


def test_a_failed_job_whose_end_is_not_known_is_told_without_a_time() -> None:
    assert texts(ended(JobStatus.FAILED, error="a\nb", completed_at=None)) == [
        "Failed on run 1: a b; 'jobfleet dead replay mail.0.a' runs it again."
    ]
    (text,) = texts(ended(JobStatus.FAILED, error="wrong", error_class="bad-signature"))
    assert text.endswith("cannot be run: enqueue the job again, and 'jobfleet dead purge' this one.")


def test_every_check_leaves_an_unknown_job_alone() -> None:
    nothing = Snapshot(ID, Explained(NOW, Unknown()))

    assert [check(nothing) for check in (*WAITING, *RUNNING)] == [None] * (len(WAITING) + len(RUNNING))


@pytest.mark.parametrize(
    ("cause", "callback", "text"),
    [
        (Parent("mail.0.p", "failed", "thumb 13", "Bad: no\npicture."), None, "'thumb 13' failed: Bad: no picture."),
        (Parent("mail.0.p", "expired", "thumb 13"), None, "'thumb 13' expired."),
        (Parent("mail.0.p", "cancelled", "thumb 13", "cancelled by ann"), None, "'thumb 13' was cancelled by ann."),
        (Parent("p", "cancelled", "t", "cancelled by parent:x"), None, "'t' was cancelled through a parent, too."),
        (Parent("p", "running", "t", "no"), None, "'t' did not complete; it was replayed, and is running."),
        (Parent("p", "completed", "t"), None, "'t' did not complete; it was run again, and has completed since."),
        (Parent("mail.0.p", "completed", "t"), "on_failure", "'t' completed."),
        (Parent("mail.0.p", ""), None, "'mail.0.p' did not complete."),
        (Parent("mail.0.p", "gone"), None, "'mail.0.p' did not complete; nothing is known of it any more."),
    ],
)
def test_what_has_cancelled_a_dependant_is_named(cause: Parent, callback: str | None, text: str) -> None:
    seen = ended(JobStatus.CANCELLED, cancel_requested_by="parent:mail.0.o")
    assert seen.job is not None
    seen = replace(seen, details=JobDetails(job=seen.job, root_cause=cause, callback=callback))

    assert texts(seen) == [f"Cancelled 3 min ago because {text}"]
