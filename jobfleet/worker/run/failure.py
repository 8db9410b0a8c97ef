"""What is kept of a failed run, and what a running job sees of itself."""

from __future__ import annotations

import traceback
from typing import Any

from jobfleet.codec import Limits
from jobfleet.errors import EncodingError
from jobfleet.model import JobResult
from jobfleet.outcome import ForeignError, Outcome, Raised
from jobfleet.retry import Fail
from jobfleet.worker.run.run import Run

LIMITS = Limits(max_bytes=512 << 20, max_depth=128)
"""Of what lies in Redis already: it was within its own when it was written."""
TRACEBACK_HEAD = "…\n"


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


def _parents_of(run: Run) -> dict[str, JobResult[Any]]:
    # Most runs have waited for none, and a process of its own is to start fast.
    from jobfleet.worker.run.parent_results import results_of

    return results_of(run.parents, LIMITS)
