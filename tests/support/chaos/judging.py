"""The checks of single invariants on a finished run; each yields what is wrong, in words."""

from __future__ import annotations

import re
from collections import Counter, defaultdict
from collections.abc import Iterator

from jobfleet import DurabilityUnavailable, DurabilityUncertain, FleetFull, StoreUnavailable
from tests.support.chaos.case import TERMINAL, Asked, Case
from tests.support.chaos.producer import PLAIN, SIDE

MICROS = 1_000_000
OF_RUNS = re.compile(r"\.0\.[0-9a-f]{16}$|\.0\.[0-9a-f]{32}\.[0-9a-f]{16}\.\d+$")
"""The ids of jobs that runs write for themselves: undo jobs, and jobs that they add to a flow."""
TICKS = "ticks"
"""The queue of the cron entry, which no producer fills."""
PROBE_LIMIT = 40.0
"""Seconds within which a job must start once the faults have ended: the longest block of an idle child, and some."""


REFUSALS = {error.__name__ for error in (FleetFull, DurabilityUnavailable, DurabilityUncertain, StoreUnavailable)}
"""The errors with which new jobs are refused. What a run writes for itself is not refused."""


def nothing_is_lost(case: Case) -> Iterator[str]:
    """An acknowledged job is known at the end."""
    for job_id, one in case.acknowledged.items():
        if not case.state_of(job_id) and not case.is_excused(one):
            yield f"{job_id} was acknowledged, and is unknown"


def durable(case: Case) -> Iterator[str]:
    """The same for each level; a completed job that a waiter saw stays completed."""
    for invoke, answer in case.answered("wait"):
        seen = answer.value["answer"]
        if not seen or seen["status"] not in TERMINAL or case.may_be_lost(answer.at):
            continue
        now = case.state_of(invoke.id)
        if (now.get("status"), now.get("fence")) != (seen["status"], seen["fence"]):
            yield f"{invoke.id} was seen as {seen['status']} under {seen['fence']}, and is {now.get('status')}"


def nothing_is_invented(case: Case) -> Iterator[str]:
    """Only jobs that somebody asked for exist, and one call makes one job."""
    known = set(case.asked) | set(case.run.get("strangers", ())) | case.added
    own = {job_id: runs for job_id, runs in case.runs.items() if not OF_RUNS.search(job_id)}
    for job_id in own.keys() - known:
        yield f"{job_id} ran, and nobody had asked for it"
    for one in case.trail.of("enqueued") if case.trail is not None else ():
        if one.id not in known and not one.id.startswith(f"{TICKS}.") and not OF_RUNS.search(one.id):
            yield f"{one.id} was enqueued, and nobody had asked for it"
    by_call: dict[int, set[str]] = defaultdict(set)
    for job_id, runs in own.items():
        for run in runs:
            by_call[run.value["call"]].add(job_id)
    asked_for: dict[int, set[str]] = defaultdict(set)
    for asked in case.asked.values():
        for call in asked.calls:
            asked_for[call].add(asked.id)
    for call, ids in by_call.items():
        if len(ids) > max(1, len(asked_for[call])):
            yield f"call {call} made {len(ids)} jobs: {', '.join(sorted(ids))}"


def fences_grow(case: Case) -> Iterator[str]:
    """No job runs twice under one token, whatever branch of the data granted it."""
    for job_id, runs in case.runs.items():
        tokens = [run.token for run in runs]
        if len(set(tokens)) != len(tokens):
            yield f"{job_id} ran twice under one token: {tokens}"


def fences_differ(case: Case) -> Iterator[str]:
    """No token is run for two jobs of a lane."""
    owners: dict[tuple[str, int], str] = {}
    for job_id, runs in case.runs.items():
        for run in runs:
            other = owners.setdefault((job_id.partition(".")[0], run.token), job_id)
            if other != job_id:
                yield f"{other} and {job_id} both ran under {run.token}"


def last_grant_wins(case: Case) -> Iterator[str]:
    """A completed job has the token of its last grant."""
    for job_id in case.acknowledged:
        state, grants = case.state_of(job_id), case.grants[job_id]
        if state.get("status") == "completed" and grants and state["fence"] != grants[-1].token:
            yield f"{job_id} completed under {state['fence']}, and was granted last under {grants[-1].token}"


def one_ending(case: Case) -> Iterator[str]:
    """The server ended each job once."""
    for job_id, endings in case.endings.items():
        if len(endings) > 1:
            yield f"{job_id} ended {len(endings)} times: {[one.status for one in endings]}"


def counters_agree(case: Case) -> Iterator[str]:
    """The counter of completed jobs counts each once."""
    if case.has_losses or case.trail is None:
        return
    for lane, totals in case.final["totals"].items():
        completed = sum(
            one.status == "completed" and one.id.startswith(f"{lane}.") for one in case.trail.of("ended")
        )  # fmt: skip
        if int(totals.get("completed", 0)) != completed:
            yield f"{lane} counts {totals.get('completed', 0)} completed, there are {completed}"


def counters_agree_with_trail(case: Case) -> Iterator[str]:
    """The other counters too."""
    if case.has_losses or case.trail is None:
        return
    for lane, totals in case.final["totals"].items():
        events = Counter(
            one.status or one.event for one in case.trail.events if one.id.startswith(f"{lane}.")
        )  # fmt: skip
        for name in ("enqueued", "failed", "cancelled"):
            if int(totals.get(name, 0)) != events[name]:
                yield f"{lane} counts {totals.get(name, 0)} {name}, there are {events[name]}"


def enqueued_once(case: Case) -> Iterator[str]:
    """An id is enqueued once, and a repetition is answered with it."""
    for op in ("enqueue", "enqueue_many"):
        for invoke, answer in case.answered(op):
            wanted = invoke.value["ids"] if op == "enqueue_many" else [invoke.id]
            answers = answer.value["answer"]
            given = answers if isinstance(answers, list) else [answers]
            if any(one not in {"", other} for one, other in zip(given, wanted, strict=True)):  # "" was refused
                yield f"{wanted} was answered with {answers}"
    if case.trail is not None:
        counted = Counter(one.id for one in case.trail.of("enqueued"))
        for job_id, count in counted.items():
            if count > 1:
                yield f"{job_id} was enqueued {count} times"


def attempts_are_counted(case: Case) -> Iterator[str]:
    """Budgets are charged for started runs only."""
    failures: Counter[str] = Counter()
    accepted = None if case.trail is None else {
        (one.id, one.token) for one in case.trail.of("returned") if one.by == "child"
    }  # fmt: skip
    for record in case.history:
        if record.op == "run" and record.kind == "fail" and record.value.get("error") == "RuntimeError":
            failures[record.id] += accepted is None or (record.id, record.token) in accepted
    for job_id, one in case.acknowledged.items():
        state, runs = case.state_of(job_id), len(case.runs.get(job_id, []))
        if state.get("status") not in {"completed", "failed"} or one.facts.get("cancelled"):
            continue
        counted, planned = int(state["retry_count"]), int(one.facts.get("failures", 0))
        if counted > max(runs - 1, 0):
            yield f"{job_id} counts {counted} retries, and was started {runs} times"
        if state["status"] == "completed" and counted < (planned if accepted is None else failures[job_id]):
            yield f"{job_id} counts {counted} retries, and failed {failures[job_id]} times"
        if not planned and state["status"] == "failed":
            yield f"{job_id} failed: {state.get('error')}"


def dead_once(case: Case) -> Iterator[str]:
    """A job that always fails has one dead letter, and no other job has one."""
    if case.trail is None:
        return
    for job_id, one in case.acknowledged.items():
        letters = case.trail.buried[job_id]
        must_fail = one.facts.get("failures", 0) > 5
        status = case.state_of(job_id).get("status")
        if letters != (status == "failed") and not _is_excused(case, one):
            yield f"{job_id} is {status} and has {letters} dead letters"
        if must_fail and status == "completed":
            yield f"{job_id} completed, though it always fails"


def not_early(case: Case) -> Iterator[str]:
    """A scheduled job does not start before its call and its delay."""
    if case.run.get("clock"):
        return  # the fault moved the server's clock, by which jobs are due
    for job_id, one in case.asked.items():
        delay, runs = one.facts.get("delay"), case.runs.get(job_id)
        if delay and runs and runs[0].at < one.since + delay - 0.05:
            yield f"{job_id} started {one.since + delay - runs[0].at:.2f} s early"


def paused_means_paused(case: Case) -> Iterator[str]:
    """No grant between the answer to a pause and the first request to resume that may have been executed after it."""
    if case.run.get("clock") or case.has_losses:
        return
    resumes = case.spans("resume")
    for invoke, answer in case.answered("pause"):
        until = min((begun for begun, ended in resumes if ended > invoke.at), default=float("inf"))
        for job_id, grants in case.grants.items():
            if job_id.startswith(f"{SIDE}.") and any(answer.at * MICROS < one.at < until * MICROS for one in grants):
                yield f"{job_id} was granted while {SIDE} was paused"


def cancelled_stays(case: Case) -> Iterator[str]:
    """What was cancelled while it waited never starts; what was cancelled ends as cancelled or completed."""
    for invoke, answer in case.answered("cancel"):
        if not answer.value["answer"] or case.may_be_lost(answer.at):
            continue
        status = case.state_of(invoke.id).get("status")
        if status not in {"cancelled", "completed"}:
            yield f"{invoke.id} was cancelled, and is {status}"
        late = [run for run in case.runs.get(invoke.id, []) if run.at > answer.at]
        if invoke.value["was"] == "waiting" and late:
            yield f"{invoke.id} was cancelled while it waited, and started {late[0].at - answer.at:.2f} s later"


def parents_first(case: Case) -> Iterator[str]:
    """A dependant is granted after its parents have completed."""
    if case.trail is None:
        return
    for job_id, one in case.asked.items():
        grants = case.grants.get(job_id)
        for parent in one.facts.get("parents", ()) if grants else ():
            done = [end.step for end in case.endings.get(parent, []) if end.status == "completed"]
            if grants and (not done or done[0] > grants[0].step) and not case.has_losses:
                yield f"{job_id} was granted before its parent {parent} had completed"


def fires_once(case: Case) -> Iterator[str]:
    """One job per planned time."""
    fired: dict[str, set[str]] = defaultdict(set)
    for record in case.history:
        if record.op == "tick":
            fired[record.value["planned"]].add(record.id)
    for planned, ids in fired.items():
        if len(ids) > 1:
            yield f"{planned} was fired as {', '.join(sorted(ids))}"


def probe_started(case: Case) -> Iterator[str]:
    """The probe after the faults started soon."""
    probe = case.run.get("probe")
    if probe is not None:
        runs = case.runs.get(probe["id"], [])
        if not runs or runs[0].at - probe["at"] > PROBE_LIMIT:
            yield f"the probe {probe['id']} did not start within {PROBE_LIMIT:g} s"


def all_ended(case: Case) -> Iterator[str]:
    """Everything that was acknowledged has ended."""
    for job_id in case.acknowledged:
        status = case.state_of(job_id).get("status")
        if status is not None and status not in TERMINAL and not case.may_keep_guard(job_id):
            yield f"{job_id} is still {status}"


def no_late_start(case: Case) -> Iterator[str]:
    """A run does not start after a later run of its job, unless two nodes were primaries at that time."""
    for job_id, runs in case.runs.items():
        tokens = [run.token for run in runs]
        late = (run for at, run in enumerate(runs) if run.token < max(tokens[: at + 1]))
        if not all(case.may_be_lost(run.at) for run in late):
            yield f"{job_id} started under {tokens}, in this order"


def results_are_right(case: Case) -> Iterator[str]:
    """The value is that of the accepted run, and that run came to its end."""
    done = {(record.id, record.token) for record in case.history if record.op == "run" and record.kind == "ok"}
    for job_id in case.asked:
        state = case.state_of(job_id)
        if state.get("status") != "completed":
            continue
        if state["result"] != state["fence"]:
            yield f"{job_id} completed under {state['fence']} with the value of {state['result']}"
        if (job_id, state["fence"]) not in done:
            yield f"{job_id} completed under {state['fence']}, which did not come to its end"
    for invoke, answer in case.answered("wait"):
        seen = answer.value["answer"]
        if seen and seen["status"] == "completed" and seen["result"] != seen["fence"]:
            yield f"a waiter for {invoke.id} got {seen['result']} of the run {seen['fence']}"


def goes_on(case: Case) -> Iterator[str]:
    """No run fails, and no job is charged, because Redis refuses new jobs."""
    for record in case.history:
        if record.op == "run" and record.kind == "fail" and record.value.get("error") in REFUSALS:
            yield f"{record.id} was charged for {record.value['error']}"
    for job_id, state in case.final["jobs"].items():
        if state and state.get("status") == "failed" and state.get("error_class") in REFUSALS:
            yield f"{job_id} failed with {state['error_class']}: {state.get('error')}"


def nothing_left(case: Case) -> Iterator[str]:
    """The keys of open jobs are empty, except for dependants that were written only in part."""
    for key, size in case.final["left"].items():
        if size > case.half_written[key]:
            yield f"{size} left in {key}, {case.half_written[key]} of them half-written"


def others_complete(case: Case) -> Iterator[str]:
    """Beside hostile jobs, the plain ones complete."""
    if not case.run.get("hostile"):
        return
    for job_id, one in case.acknowledged.items():
        plain = one.facts.get("function") in PLAIN and not one.facts.get("cancelled")
        parents = one.facts.get("parents")
        if plain and not parents and case.state_of(job_id).get("status") != "completed":
            yield f"{job_id} is {case.state_of(job_id).get('status')}"


def _is_excused(case: Case, one: Asked) -> bool:
    return one.acknowledged is not None and case.may_be_lost(one.acknowledged)
