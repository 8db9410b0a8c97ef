"""The form of all JSON output: names as in Python, ISO times, durations in seconds."""

from __future__ import annotations

import base64
import math
from collections.abc import Iterable, Mapping
from dataclasses import fields
from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

from jobfleet.cli.hidden import REDACTION
from jobfleet.cli.output import iso
from jobfleet.model.who import from_word
from jobfleet.secret import HIDDEN

if TYPE_CHECKING:
    from jobfleet.model import JobResult
    from jobfleet.model.details import JobDetails
    from jobfleet.model.explanation import Explanation
    from jobfleet.model.limit import LimitInfo
    from jobfleet.operations.dead.groups import DeadGroup
    from jobfleet.operations.dead.rescue import RescueStatus
    from jobfleet.operations.doctor.findings import Diagnosis
    from jobfleet.operations.doctor.repair import Repair
    from jobfleet.operations.jobs.listing import Letter
    from jobfleet.operations.queues.info import QueueInfo
    from jobfleet.operations.workers.commands import Confirmation
    from jobfleet.operations.workers.info import WorkerInfo

US_DIGITS = 16
"""Digits of a time in µs since 1970, until the year 2286."""


def job_data(result: JobResult[Any]) -> dict[str, object]:
    """A job: every attribute of `JobResult`."""
    return _attributes(result)


def details_data(details: JobDetails[Any]) -> dict[str, object]:
    """A job in full: every attribute of `JobResult`, and every other attribute of `JobDetails`."""
    return {**job_data(details.job), **_details(details)}


def _details(details: JobDetails[Any]) -> dict[str, object]:
    priority = None if details.priority is None else details.priority.name.lower()
    parents = [parent._asdict() for parent in details.parents]
    history = _history(details.history)
    return {**_attributes(details, "job"), "priority": priority, "parents": parents, "history": history}


def letter_data(letter: Letter) -> dict[str, object]:
    """A dead letter: its job, and every other attribute of `Letter`."""
    return {**job_data(letter.job), **_attributes(letter, "job"), "history": _history(letter.history)}


class Past(NamedTuple):
    """A line of a job's history.

    Attributes:
        event: ``run``, ``replay``, or ``other`` for a line that jobfleet has not written.
        at: Its time; None if it is not known.
        text: How the run ended, or the line itself.
        run: The number of the run; empty if it was none.
        by: Who replayed the job, if that is known.
        is_edited: Whether the replay changed its arguments.
    """

    event: str
    at: datetime | None = None
    text: str = ""
    run: str = ""
    by: str | None = None
    is_edited: bool = False


def past_of(line: str) -> Past:
    """Parse a line of a job's history."""
    number, at, text = (*line.split(" ", 2), "", "")[:3]
    if not at.isdecimal() or len(at) > US_DIGITS:
        return Past("other", text=line)
    moment = datetime.fromtimestamp(int(at) / 1e6, UTC)
    if number != "replayed":
        return Past("run", moment, text, number)
    who, _, edited = text.partition(" ")
    return Past("replay", moment, by=None if who == "-" else from_word(who), is_edited=bool(edited))


def _history(lines: Iterable[str]) -> list[dict[str, object]]:
    """The history of a job: for each run its number and how it ended, for each replay its author."""
    return [_past(past_of(line)) for line in lines]


def _past(past: Past) -> dict[str, object]:
    kept: dict[str, object] = {"event": past.event, "at": iso(past.at)}
    if past.event == "replay":
        return kept | {"by": past.by, "is_edited": past.is_edited}
    run = int(past.run) if past.run.isdecimal() else None
    return kept | ({"run": run} if past.event == "run" else {}) | {"text": past.text}


def queue_data(queue: QueueInfo) -> dict[str, object]:
    """A queue: every attribute of `QueueInfo`, and of each `FunctionPause`."""
    return {**_attributes(queue), "paused_functions": [_attributes(one) for one in queue.paused_functions]}


def limit_data(limit: LimitInfo) -> dict[str, object]:
    """Limits: every attribute of `LimitInfo`."""
    return _attributes(limit)


def worker_data(worker: WorkerInfo) -> dict[str, object]:
    """A worker: every attribute of `WorkerInfo`."""
    return _attributes(worker)


def explanation_data(explanation: Explanation) -> dict[str, object]:
    """An explanation: every attribute of `Explanation`, of each `Reason`, and of its `JobDetails`."""
    details = None if explanation.details is None else _details(explanation.details)
    reasons = [_attributes(reason) for reason in explanation.reasons]
    return {**_attributes(explanation, "details"), "reasons": reasons, "details": details}


def diagnosis_data(diagnosis: Diagnosis) -> dict[str, object]:
    """A diagnosis: every attribute of `Diagnosis`, and of each `Finding`."""
    return {**_attributes(diagnosis), "findings": [_attributes(one) for one in diagnosis.findings]}


def group_data(group: DeadGroup) -> dict[str, object]:
    """A group of dead letters: every attribute of `DeadGroup`."""
    return _attributes(group)


def rescue_data(status: RescueStatus) -> dict[str, object]:
    """A rescue of dead letters: every attribute of `RescueStatus`."""
    return _attributes(status)


def repair_data(repair: Repair) -> dict[str, object]:
    """A repair: every attribute of `Repair`."""
    return _attributes(repair)


def confirmation_data(confirmation: Confirmation) -> dict[str, object]:
    """A worker's confirmation of a command: every attribute of `Confirmation`."""
    return _attributes(confirmation)


def jsonable(value: object) -> object:
    """Convert an argument or result to JSON types.

    Bytes become base64, sets become sorted lists, and other types (Decimal, UUID, infinity) become text.
    """
    match value:
        case None | bool() | int() | str():
            return value
        case float():
            return value if math.isfinite(value) else str(value)
        case timedelta():
            return value.total_seconds()
        case datetime() | date():
            return value.isoformat()
        case bytes():
            return base64.b64encode(value).decode()
        case Mapping():
            return {_key(key): HIDDEN if REDACTION.hides(key) else jsonable(item) for key, item in value.items()}
        case set() | frozenset():
            return sorted((jsonable(item) for item in value), key=lambda item: (str(type(item)), str(item)))
        case list() | tuple():
            return [jsonable(item) for item in value]
        case Path():
            return str(value)
        case _:
            return str(value)


def _key(key: object) -> str:
    return key if isinstance(key, str) else str(jsonable(key))


def _attributes(row: Any, *left_out: str) -> dict[str, object]:
    return {each.name: _own(getattr(row, each.name)) for each in fields(row) if each.name not in left_out}


def _own(value: object) -> object:
    """Convert a value of jobfleet itself: its times are in UTC. Times in arguments and results keep their zone."""
    return iso(value) if isinstance(value, datetime) else jsonable(value)
