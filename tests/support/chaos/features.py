"""The checks of the newer features on a finished run: steps, sagas, flows that grow, waits, streams, sequences, limits.

Each yields what is wrong, in words. What a fault was allowed to lose is not judged.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator

from tests.support.chaos.case import LIMITED, Case
from tests.support.chaos.producer import BULK, NARROW
from tests.support.chaos.stage import of_jobs


def kept_steps_stay(case: Case) -> Iterator[str]:
    """A step whose value a run was given does not run again, and has that value ever after."""
    if case.has_losses:
        return
    ran = case.noted("step")
    for job_id, records in case.noted("kept").items():
        first: dict[int, tuple[float, object]] = {}
        for one in records:
            at, value = first.setdefault(one.value["step"], (one.at, one.value["kept"]))
            if value != one.value["kept"]:
                yield f"{job_id} got {one.value['kept']} for step {one.value['step']}, and {value} before"
            later = [run for run in ran[job_id] if run.value["step"] == one.value["step"] and run.at > at]
            if later:
                yield f"{job_id} ran step {one.value['step']} {later[0].at - at:.2f} s after it was kept"


def sagas_are_undone(case: Case) -> Iterator[str]:
    """Each step of a job that has failed for good is undone."""
    if case.has_losses:
        return
    undone = case.noted("undone")
    for job_id, records in case.noted("booked").items():
        status = case.state_of(job_id).get("status")
        left = {one.value["step"] for one in records} - {one.value["step"] for one in undone[job_id]}
        if status == "failed" and left:
            yield f"{job_id} failed, and the steps {sorted(left)} were not undone"
        if status == "completed":
            yield f"{job_id} completed, though it always fails"


def added_jobs_end(case: Case) -> Iterator[str]:
    """A job that a run has added to its flow completes."""
    for job_id in sorted(case.added):
        status = case.state_of(job_id).get("status")
        if status != "completed" and not case.has_losses:
            yield f"{job_id} was added to a flow, and is {status}"


def signals_arrive(case: Case) -> Iterator[str]:
    """An acknowledged signal ends the wait of its job, with its value."""
    for invoke, answer in case.answered("signal"):
        if not answer.value["answer"] or case.may_be_lost(answer.at):
            continue
        status = case.state_of(invoke.id).get("status")
        if status not in {"completed", None}:
            yield f"{invoke.id} was sent its signal, and is {status}"
    calls = {job_id: one.calls for job_id, one in case.asked.items()}
    for job_id, records in case.noted("signalled").items():
        wrong = [one for one in records if one.value["value"] not in calls.get(job_id, ())]
        if wrong:
            yield f"{job_id} got the value {wrong[0].value['value']}"


def streams_are_whole(case: Case) -> Iterator[str]:
    """A reader ends with all chunks of the last run, in their order."""
    for job_id, chunks in case.final.get("chunks", {}).items():
        if case.state_of(job_id).get("status") == "completed" and not case.has_losses:
            wanted = list(range(case.asked[job_id].facts["chunks"]))
            if chunks != wanted:
                yield f"the stream of {job_id} ends with {len(chunks)} chunks of {len(wanted)}: {chunks[:40]}"


def sequences_keep_their_order(case: Case) -> Iterator[str]:
    """A job of a sequence starts after the jobs before it have run to their end."""
    if case.has_losses:
        return
    groups: dict[str, list[str]] = defaultdict(list)
    for job_id, one in sorted(case.acknowledged.items(), key=lambda row: row[1].since):
        if one.facts.get("order"):
            groups[one.facts["order"]].append(job_id)
    for group, ids in groups.items():
        last, ended = "", 0.0
        for job_id in ids:
            runs = case.runs.get(job_id, [])
            if runs and runs[0].at < ended:
                yield f"{job_id} of {group} started {ended - runs[0].at:.2f} s before {last} had ended"
            end = case.ends.get((job_id, int(case.state_of(job_id).get("fence") or 0)))
            if end is not None:
                last, ended = job_id, end


def limits_hold(case: Case) -> Iterator[str]:
    """Of the runs that came to their end under their lease, at most so many ran at once as the limit permits."""
    if case.has_losses:  # the definition of the limit may be lost, too
        return
    rows: list[tuple[float, int]] = []
    for job_id, runs in case.runs.items():
        fence = int(case.state_of(job_id).get("fence") or 0)
        end = case.ends.get((job_id, fence))
        if end is not None and job_id in case.asked and case.asked[job_id].facts.get("function") == LIMITED:
            rows += [(run.at, 1) for run in runs if run.token == fence] + [(end, -1)]
    now = most = 0
    for _, change in sorted(rows):
        now += change
        most = max(most, now)
    if most > NARROW:
        yield f"{most} jobs of the limit ran at once, {NARROW} may"


def payloads_are_read(case: Case) -> Iterator[str]:
    """An argument that the payload store keeps arrives whole."""
    for job_id, records in case.noted("read").items():
        if any(one.value["length"] != BULK for one in records):
            yield f"{job_id} read {records[0].value['length']} bytes of {BULK}"


def nothing_is_kept(case: Case) -> Iterator[str]:
    """Once all jobs have ended and the retentions are over, no key of a job is left."""
    for kind, count in of_jobs(case.final.get("keys", {})).items():
        yield f"{count} keys {kind}:… are left"
