"""The span of a run: its start, with the facts of the run, and its end. Without a tracer, nothing here is called."""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence
from typing import Any

from jobfleet.clock import to_seconds
from jobfleet.codec.frames import is_record, read_fields
from jobfleet.errors import EncodingError
from jobfleet.functions.port import NOTHING, Carrier, RunFacts, RunSpan, Tracer
from jobfleet.outcome import Outcome
from jobfleet.retry.decision import Decision, Fail, Retry
from jobfleet.retry.tries import Tries
from jobfleet.worker.run.run import Run

log = logging.getLogger("jobfleet.worker")
TRACEPARENT = "traceparent"
COUNTS = 7
"""The counts at the beginning of the text of the tries."""
_PART = (1 << 56) - 1


def noted(tries: str, traceparent: str) -> str:
    """The text of the tries of a failed run, with its span behind the seven counts; `Tries.parse` passes over it."""
    numbers = numbers_of(traceparent)
    head, newline, history = tries.partition("\n")
    counts = head.split(":")[:COUNTS]
    counts += ["0"] * (COUNTS - len(counts))
    return f"{':'.join(counts)}:{numbers}{newline}{history}" if tries and numbers else tries


def previous(tries: str) -> str:
    """The traceparent of the run that failed before; empty if it, or what was counted since, was not traced."""
    return traceparent_of(":".join(tries.partition("\n")[0].split(":")[COUNTS:]))


def numbers_of(traceparent: str) -> str:
    """A traceparent as four numbers, because a worker of another version expects numbers there."""
    version, _, rest = traceparent.partition("-")
    if version != "00":
        return ""
    whole = int(rest.replace("-", ""), 16)
    return ":".join(str(whole >> shift & _PART) for shift in (168, 112, 56, 0))


def traceparent_of(numbers: str) -> str:
    """The traceparent of four numbers; empty for anything else, which a later version may write."""
    parts = numbers.split(":")
    if len(parts) != 4 or not all(part.isdecimal() and int(part) <= _PART for part in parts):
        return ""
    whole = 0
    for part in parts:
        whole = whole << 56 | int(part)
    text = f"{whole:050x}"
    return f"00-{text[:32]}-{text[32:48]}-{text[48:]}" if len(text) == 50 else ""


def begun(tracer: Tracer, run: Run, child: str) -> RunSpan | None:
    """Begin the span of a run; None if the tracer fails, which must not cost the job its run.

    Args:
        tracer: Makes the span.
        run: The run.
        child: The id of the child.
    """
    header, tries = run.header, Tries.parse(run.grant.tries)
    try:
        return tracer.run(
            RunFacts(
                job_id=run.id,
                queue=run.lane.queue,
                function=str(header["function"]),
                attempt=tries.attempt,
                fence=run.token,
                worker=child,
                size=len(run.grant.envelope),
                carrier=_carrier(header.get("trace")),
                previous=previous(run.grant.tries),
                parents={parent: trace for parent, _, ending in run.parents if (trace := _trace_in(ending))},
                correlation_id=str(header.get("correlation_id") or ""),
                flow=str(header.get("flow") or ""),
                is_recurring="nominal" in header,
            )
        )
    except Exception:
        log.exception("job.untraced job_id=%s", run.id, extra={"run": run})
        return None


def conclude(span: RunSpan, outcome: Outcome, decision: Decision) -> None:
    """Record in a span how its run ends."""
    detail: dict[str, Any] = {}
    match decision:
        case Retry(delay_us):
            detail["delay"] = to_seconds(delay_us)
        case Fail(reason):
            detail["reason"] = reason
        case _:
            pass
    try:
        span.concluded(outcome, type(decision).__name__.lower(), detail)
    except Exception:
        log.exception("job.untraced its span does not have its outcome")


def carrier_of(run: Run) -> Carrier:
    """The trace context for the process that runs the code of a run: the span of the run, and the rest of its own."""
    if run.span is None:
        return NOTHING
    return {**_carrier(run.header.get("trace")), TRACEPARENT: run.span.traceparent}


def span_of_batch(runs: Sequence[Run], function: str) -> RunSpan | None:
    """The span of a call that runs a batch; None without a tracer."""
    spans = [run.span for run in runs if run.span is not None]
    return spans[0].batch(spans, function) if spans else None


def _carrier(found: object) -> Carrier:
    """A carrier from a header; nothing if a foreign client has written something else."""
    if not isinstance(found, Mapping):
        return NOTHING
    return {name: text for name, text in found.items() if isinstance(name, str) and isinstance(text, str)}


def _trace_in(ending: bytes) -> str:
    """The traceparent in the record of a parent's end; empty if there is none."""
    record = ending.partition(b"\n")[2]
    if not record or not is_record(record):
        return ""
    try:
        found = read_fields(record).get("trace", "")
    except EncodingError:
        return ""
    return found if isinstance(found, str) else ""
