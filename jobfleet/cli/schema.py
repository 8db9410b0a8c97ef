"""The form of all JSON output: names as in Python, ISO times, durations in seconds."""

from __future__ import annotations

import base64
import math
from collections.abc import Mapping
from dataclasses import fields
from datetime import date, datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from jobfleet.model import JobResult
    from jobfleet.model.explanation import Explanation
    from jobfleet.model.limit import LimitInfo
    from jobfleet.operations.doctor.findings import Diagnosis
    from jobfleet.operations.jobs.listing import Letter
    from jobfleet.operations.queues.info import QueueInfo
    from jobfleet.operations.workers.commands import Confirmation
    from jobfleet.operations.workers.info import WorkerInfo


def job_data(result: JobResult[Any]) -> dict[str, object]:
    """A job: every attribute of `JobResult`."""
    return _attributes(result)


def letter_data(letter: Letter) -> dict[str, object]:
    """A dead letter: its job, and every other attribute of `Letter`."""
    return {**job_data(letter.job), **{name: value for name, value in _attributes(letter).items() if name != "job"}}


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
    """An explanation: every attribute of `Explanation`, and of each `Reason`."""
    return {**_attributes(explanation), "reasons": [_attributes(reason) for reason in explanation.reasons]}


def diagnosis_data(diagnosis: Diagnosis) -> dict[str, object]:
    """A diagnosis: every attribute of `Diagnosis`, and of each `Finding`."""
    return {**_attributes(diagnosis), "findings": [_attributes(one) for one in diagnosis.findings]}


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
            return {_key(key): jsonable(item) for key, item in value.items()}
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


def _attributes(row: Any) -> dict[str, object]:
    return {each.name: jsonable(getattr(row, each.name)) for each in fields(row)}
