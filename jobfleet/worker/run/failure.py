"""The record of a failed run: its error and its traceback."""

from __future__ import annotations

import traceback
from types import TracebackType

from jobfleet.errors import EncodingError
from jobfleet.model.signals import ForeignError
from jobfleet.outcome import Outcome, Raised
from jobfleet.retry.decision import Fail
from jobfleet.worker.run.run import Run

TRACEBACK_HEAD = "…\n".encode()


def error_fields(outcome: Outcome, decision: Fail, *, traceback_bytes: int) -> dict[str, object]:
    """The fields that describe a failure."""
    last = decision.tries.history[-1].split(" ", 2)[-1] if decision.tries.history else decision.reason
    fields: dict[str, object] = {"error": last, "error_type": str(decision.error_type), "error_class": decision.reason}
    if isinstance(outcome, Raised):
        error = outcome.error
        # An EncodingError is about the result, so a traceback of the codec helps nobody.
        kind = class_of(error)
        fields["error_class"] = kind
        fields["error"] = last.removeprefix(f"{kind}: ")
        if not isinstance(error, EncodingError):
            fields["traceback"] = traceback_text(error, traceback_bytes)
    return fields


def class_of(error: BaseException) -> str:
    """The name of the class of an error."""
    kind = error.error_class if isinstance(error, ForeignError) else type(error).__name__
    return kind.encode("utf-8", "replace").decode()  # as `describe` does


def users_frames(error: BaseException) -> TracebackType | None:
    """The traceback of an error without the frames of the worker."""
    frames = error.__traceback__
    while frames is not None and frames.tb_frame.f_globals.get("__name__", "").startswith("jobfleet.worker."):
        frames = frames.tb_next
    return frames


def is_writable(error: BaseException) -> bool:
    """Whether a handler of logs can write the texts of an error, of those in its group, and of those that led to it."""
    seen: set[int] = set()
    left: list[BaseException | None] = [error]
    try:
        while left:
            one = left.pop()
            if one is None or id(one) in seen:
                continue
            seen.add(id(one))
            for text in (str(one), *getattr(one, "__notes__", ())):
                text.encode()  # fails for a lone surrogate; the user's __str__ may raise anything
            left += (one.__cause__, one.__context__, *(one.exceptions if isinstance(one, BaseExceptionGroup) else ()))
    except BaseException:  # noqa: BLE001 - see above
        return False
    return True


def unwritable(outcome: Outcome) -> Outcome:
    """The outcome for an ending that cannot be written down, for example because the user's error cannot be shown."""
    return Raised(RuntimeError(f"how it ended cannot be written down ({type(outcome).__name__})"))


def traceback_text(error: BaseException, most: int) -> str:
    """The end of a traceback as text, without the frames of the worker.

    Args:
        error: The exception.
        most: The maximal size in bytes of UTF-8; without room for anything, the text is empty.
    """
    if isinstance(error, ForeignError):
        return error.traceback
    try:
        text = "".join(traceback.format_exception(type(error), error, users_frames(error)))
    except BaseException:  # noqa: BLE001 - the user's exception may break its own formatting
        text = f"{type(error).__name__} (its traceback cannot be had)"
    written = text.encode("utf-8", "replace")
    room = most - len(TRACEBACK_HEAD)
    if len(written) > most:
        written = TRACEBACK_HEAD + written[-room:] if room > 0 else b""
    return written.decode("utf-8", "ignore")  # the cut may have left a part of a character


def with_function(run: Run, outcome: Outcome) -> Outcome:
    """The outcome; if its result cannot be encoded, with an error that names the function."""
    if not isinstance(outcome, Raised) or type(outcome.error) is not EncodingError:
        return outcome
    error = outcome.error
    if not error.path.startswith("result"):
        return outcome
    text = str(error).replace("; pass ", "; return ").replace(" and pass ", " and return ")
    return Raised(EncodingError(f"{run.header['function']} returned {text}", field=error.field, path=error.path))
