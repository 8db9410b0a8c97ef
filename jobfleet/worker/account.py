"""What is kept of a failed run, and what a running job sees of itself."""

from __future__ import annotations

import logging
import traceback
from collections.abc import Mapping
from typing import Any

from jobfleet.clock import to_seconds
from jobfleet.codec import Limits
from jobfleet.errors import EncodingError
from jobfleet.functions.context import JobContext
from jobfleet.logs import JobLogger
from jobfleet.model import Job, JobResult, suffix_time_us
from jobfleet.operations.jobs.prepare import DURATION_OPTIONS
from jobfleet.operations.results import moment
from jobfleet.outcome import ForeignError, Outcome, Raised
from jobfleet.retry import Fail, Tries
from jobfleet.worker.run import Run

LIMITS = Limits(max_bytes=512 << 20, max_depth=128)
"""Of what lies in Redis already: it was within its own when it was written."""
TRACEBACK_HEAD = "…\n"
PLAIN = ("max_retries", "retry_backoff", "retry_jitter", "max_crashes")


def error_fields(outcome: Outcome, decision: Fail, *, traceback_bytes: int) -> dict[str, object]:
    """What is kept of a failure."""
    last = decision.tries.history[-1].split(" ", 2)[-1] if decision.tries.history else decision.reason
    fields: dict[str, object] = {"error": last, "error_type": str(decision.error_type), "error_class": decision.reason}
    if isinstance(outcome, Raised):
        error = outcome.error
        # An EncodingError is about the result; how the codec found it is of no use to anybody.
        kind = error.error_class if isinstance(error, ForeignError) else type(error).__name__
        kind = kind.encode("utf-8", "replace").decode()  # as `describe` has it
        fields["error_class"] = kind
        fields["error"] = last.removeprefix(f"{kind}: ")
        if not isinstance(error, EncodingError):
            fields["traceback"] = traceback_text(error, traceback_bytes)
    return fields


def unwritable(outcome: Outcome) -> Outcome:
    """What stands for an end that cannot be written down, whatever the user's error does."""
    return Raised(RuntimeError(f"how it ended cannot be written down ({type(outcome).__name__})"))


def traceback_text(error: BaseException, most: int) -> str:
    """A traceback as text, its tail; frames of the worker are left out."""
    if isinstance(error, ForeignError):
        return error.traceback
    try:
        frames = error.__traceback__
        while frames is not None and frames.tb_frame.f_globals.get("__name__", "").startswith("jobfleet.worker."):
            frames = frames.tb_next
        text = "".join(traceback.format_exception(type(error), error, frames))
    except BaseException:  # noqa: BLE001 - the user's exception may break its own formatting
        text = f"{type(error).__name__} (its traceback cannot be had)"
    text = text.encode("utf-8", "replace").decode()
    return text if len(text) <= most else TRACEBACK_HEAD + text[-most:]


def _options(header: Mapping[str, Any]) -> dict[str, Any]:
    """What the producer has set of how the job is run."""
    options = {name: header[name] for name in PLAIN if name in header}
    return options | {name: to_seconds(header[name]) for name in DURATION_OPTIONS if name in header}


def context_of(run: Run, child: str, args: list[Any], kwargs: dict[str, Any]) -> JobContext:
    """What the job sees of itself."""
    header = run.header
    function = header["function"]
    tags = tuple(header.get("tags", ()))
    own = suffix_time_us(run.id.rpartition(".")[2]) is None
    job = Job(
        header.get("name", function),
        function,
        tuple(args),
        kwargs,
        queue=run.lane.queue,
        tags=tags or None,
        metadata=header.get("metadata"),
        user=header.get("user"),
        session=header.get("session"),
        correlation_id=header.get("correlation_id"),
        id=run.id.split(".", 2)[2] if own else None,
        **(_options(header) if len(header) > 1 else {}),
    )
    return JobContext(
        job_id=run.id,
        job=job,
        attempt=Tries.parse(run.grant.tries).attempt,
        fence=run.token,
        worker=child,
        user=job.user,
        tags=tags,
        metadata=header.get("metadata", {}),
        correlation_id=job.correlation_id,
        nominal_time=moment(header.get("nominal")),
        parents=_parents_of(run) if run.parents else {},
        flow_id=header.get("flow"),
        log=JobLogger(logging.getLogger(f"jobfleet.job.{function}"), {"job_id": run.id}),
        port=run,
    )


def _parents_of(run: Run) -> dict[str, JobResult[Any]]:
    # Most runs have waited for none, and a process of its own is to start fast.
    from jobfleet.worker.awaited import results_of

    return results_of(run.parents, LIMITS)
