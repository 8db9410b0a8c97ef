"""The JSON form of what a fleet reports: names as in Python, ISO times, durations in seconds. Pure.

The command line prints it, and the web API answers with it.
"""

from __future__ import annotations

import base64
import math
from collections.abc import Iterable, Mapping
from dataclasses import fields
from datetime import date, datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Any

from jobfleet.clock import iso
from jobfleet.model.life import PARKED, REPLAYED, LifeEvent, event_of
from jobfleet.secret import HIDDEN, Redaction, Secret
from jobfleet.typed.converter import plain

if TYPE_CHECKING:
    from jobfleet.model import JobResult
    from jobfleet.model.audit import AuditEntry
    from jobfleet.model.history import FunctionTimes, History, HistoryPoint, QueueTrend
    from jobfleet.model.limits import BreakerInfo, LimitInfo, NamedLimit, SequenceInfo
    from jobfleet.model.result import Chunk, Explanation, JobDetails, LogLine
    from jobfleet.model.scale import Scale
    from jobfleet.operations.backfill import Backfill
    from jobfleet.operations.cron import CronInfo
    from jobfleet.operations.dead_groups import DeadGroup
    from jobfleet.operations.doctor.doctor import Repair
    from jobfleet.operations.doctor.findings import Diagnosis
    from jobfleet.operations.fires import CronFire
    from jobfleet.operations.functions import FunctionInfo
    from jobfleet.operations.jobs.listing import Letter
    from jobfleet.operations.queues import QueueInfo
    from jobfleet.operations.rescues import RescueStatus
    from jobfleet.operations.workers import ChildStacks, Confirmation, WorkerInfo


CRON_NUMBERS = ("fires", "completed", "failures", "last_success", "interval", "warning", "remedy", "culprit")
"""The attributes of `CronInfo` that say what came of the fires."""


class JsonForm:
    """Converts what a fleet reports to JSON types.

    Args:
        redaction: Hides values of arguments and results by the names of their keys.
    """

    def __init__(self, redaction: Redaction) -> None:
        self._redaction = redaction

    def job(self, result: JobResult[Any]) -> dict[str, object]:
        """A job: every attribute of `JobResult`."""
        # The names of the attributes of a wait are not those of a user's values, which redaction hides.
        return {**self._attributes(result), "wait": self._attributes(result.wait) if result.wait else None}

    def details(self, details: JobDetails[Any]) -> dict[str, object]:
        """A job in full: every attribute of `JobResult`, every other one of `JobDetails`, and of each `LifeEvent`."""
        return {**self.job(details.job), **self._details(details)}

    def _details(self, details: JobDetails[Any]) -> dict[str, object]:
        priority = None if details.priority is None else details.priority.name.lower()
        parents = [parent._asdict() for parent in details.parents]
        cause = None if details.root_cause is None else details.root_cause._asdict()
        life = [{**self._attributes(one), "duration": _seconds(one)} for one in details.life]
        return {
            **self._attributes(details, "job"), "priority": priority, "parents": parents, "root_cause": cause,
            "history": _history(details.history), "life": life,
        }  # fmt: skip

    def letter(self, letter: Letter) -> dict[str, object]:
        """A dead letter: its job, and every other attribute of `Letter`."""
        return {**self.job(letter.job), **self._attributes(letter, "job"), "history": _history(letter.history)}

    def queue(self, queue: QueueInfo) -> dict[str, object]:
        """A queue: every attribute of `QueueInfo`, and of each `FunctionPause`."""
        paused = [self._attributes(one) for one in queue.paused_functions]
        return {**self._attributes(queue), "paused_functions": paused}

    def history(self, history: History) -> dict[str, object]:
        """A history: every attribute of `History`, and of each `HistoryPoint`, `Percentiles` and `Deploy`."""
        points = [{**self._attributes(point, "wait", "run"), **self._times(point)} for point in history.points]
        deploys = [self._attributes(deploy) for deploy in history.deploys]
        return {
            **self._attributes(history, "points", "deploys", "wait", "run"),
            **self._times(history),
            "deploys": deploys,
            "points": points,
        }

    def trend(self, trend: QueueTrend) -> dict[str, object]:
        """The last hour of a queue: every attribute of `QueueTrend`."""
        return self._attributes(trend)

    def function_times(self, row: FunctionTimes) -> dict[str, object]:
        """What a function did: every attribute of `FunctionTimes`, and of each `Percentiles`."""
        return {**self._attributes(row, "wait", "run"), **self._times(row)}

    def function(self, function: FunctionInfo) -> dict[str, object]:
        """A function: every attribute of `FunctionInfo`, and of its `FunctionTimes`."""
        hour = None if function.last_hour is None else self.function_times(function.last_hour)
        return {**self._attributes(function, "last_hour"), "last_hour": hour}

    def scale(self, scale: Scale) -> dict[str, object]:
        """How many workers a queue needs: every attribute of `Scale`."""
        return self._attributes(scale)

    def _times(self, row: History | HistoryPoint | FunctionTimes) -> dict[str, object]:
        pairs = (("wait", row.wait), ("run", row.run))
        return {name: None if found is None else self._attributes(found) for name, found in pairs}

    def limit(self, limit: LimitInfo) -> dict[str, object]:
        """Limits: every attribute of `LimitInfo`."""
        return self._attributes(limit)

    def sequence(self, sequence: SequenceInfo) -> dict[str, object]:
        """A strict sequence: every attribute of `SequenceInfo`."""
        return self._attributes(sequence)

    def named_limit(self, limit: NamedLimit) -> dict[str, object]:
        """A named limit: every attribute of `NamedLimit`, and how many of its jobs may run at once now."""
        return {**self._attributes(limit), "most": limit.most}

    def breaker(self, breaker: BreakerInfo) -> dict[str, object]:
        """A circuit breaker: every attribute of `BreakerInfo`."""
        return self._attributes(breaker)

    def worker(self, worker: WorkerInfo) -> dict[str, object]:
        """A worker: every attribute of `WorkerInfo`, and of each `ChildInfo`."""
        return {**self._attributes(worker), "processes": [self._attributes(one) for one in worker.processes]}

    def line(self, line: LogLine) -> dict[str, object]:
        """A line of a job's log: every attribute of `LogLine`."""
        return self._attributes(line)

    def chunk(self, chunk: Chunk) -> dict[str, object]:
        """A chunk of a job's output: every attribute of `Chunk`."""
        return self._attributes(chunk)

    def explanation(self, explanation: Explanation) -> dict[str, object]:
        """An explanation: every attribute of `Explanation`, of each `Reason`, and of its `JobDetails`."""
        details = None if explanation.details is None else self._details(explanation.details)
        reasons = [self._attributes(reason) for reason in explanation.reasons]
        return {**self._attributes(explanation, "details"), "reasons": reasons, "details": details}

    def diagnosis(self, diagnosis: Diagnosis) -> dict[str, object]:
        """A diagnosis: every attribute of `Diagnosis`, of each `Finding`, and of each `Thing` that it is about."""
        findings = [
            {**self._attributes(one, "about"), "about": [self._attributes(thing) for thing in one.about]}
            for one in diagnosis.findings
        ]
        return {**self._attributes(diagnosis, "findings"), "findings": findings}

    def group(self, group: DeadGroup) -> dict[str, object]:
        """A group of dead letters: every attribute of `DeadGroup`."""
        return self._attributes(group)

    def rescue(self, status: RescueStatus) -> dict[str, object]:
        """A rescue of dead letters: every attribute of `RescueStatus`."""
        return self._attributes(status)

    def cron(self, info: CronInfo) -> dict[str, object]:
        """A recurring job: every attribute of `CronInfo`, and of its `Cron` in the same object."""
        return {
            "name": info.name,
            **{key: value for key, value in info.cron.dump().items() if key not in ("start", "end")},
            "start": iso(info.cron.start),
            "end": iso(info.cron.end),
            "queue": info.queue,
            "function": info.function,
            "origin": info.origin,
            "orphaned": info.is_orphaned,
            "paused": info.paused,
            "paused_at": iso(info.paused_at),
            "paused_reason": info.paused_reason,
            "last": info.last and self.fire(info.last),
            "next": iso(info.next.at) if info.next else None,
            "fired_by": list(info.fired_by),
            "doubt": info.doubt,
            **{name: self._own(getattr(info, name)) for name in CRON_NUMBERS},
        }

    def fire(self, fire: CronFire) -> dict[str, object]:
        """A past fire of a recurring job: every attribute of `CronFire`."""
        return {name: self._own(value) for name, value in fire._asdict().items()}

    def backfill(self, backfill: Backfill) -> dict[str, object]:
        """A backfill: every attribute of `Backfill`, and of each `BackfillTime`."""
        return {**self._attributes(backfill, "times"), "times": [self._attributes(one) for one in backfill.times]}

    def repair(self, repair: Repair) -> dict[str, object]:
        """A repair: every attribute of `Repair`."""
        return self._attributes(repair)

    def confirmation(self, confirmation: Confirmation) -> dict[str, object]:
        """A worker's confirmation of a command: every attribute of `Confirmation`."""
        return self._attributes(confirmation)

    def stacks(self, stacks: ChildStacks) -> dict[str, object]:
        """The stacks of a child: every attribute of `ChildStacks`."""
        return self._attributes(stacks)

    def audit(self, entry: AuditEntry) -> dict[str, object]:
        """An action of an operator: every attribute of `AuditEntry`."""
        return self._attributes(entry)

    def value(self, value: object) -> object:
        """Convert an argument or result to JSON types.

        Bytes become base64, sets become sorted lists, objects with fields become maps, and other types (Decimal, UUID,
        infinity) become text.
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
                hides = self._redaction.hides
                return {self._key(key): HIDDEN if hides(key) else self.value(item) for key, item in value.items()}
            case set() | frozenset():
                return sorted((self.value(item) for item in value), key=lambda item: (str(type(item)), str(item)))
            case list() | tuple():
                return [self.value(item) for item in value]
            case Path():
                return str(value)
            case Secret():
                return HIDDEN
            case _:  # a text of an object would show what its fields hide
                data = plain(value)
                return str(value) if data is value else self.value(data)

    def _key(self, key: object) -> str:
        return key if isinstance(key, str) else str(self.value(key))

    def _attributes(self, row: Any, *left_out: str) -> dict[str, object]:
        return {each.name: self._own(getattr(row, each.name)) for each in fields(row) if each.name not in left_out}

    def _own(self, value: object) -> object:
        """Convert a value of jobfleet itself: its times are in UTC. Times in arguments and results keep their zone."""
        return iso(value) if isinstance(value, datetime) else self.value(value)


def _history(lines: Iterable[str]) -> list[dict[str, object]]:
    """The history of a job: for each run its number and how it ended, for each replay its author."""
    return [_past(event_of(line)) for line in lines]


def _past(one: LifeEvent) -> dict[str, object]:
    kept: dict[str, object] = {"event": "replay" if one.kind == REPLAYED else one.kind, "at": iso(one.at)}
    if one.kind == REPLAYED:
        return kept | {"by": one.by, "is_edited": bool(one.text), "changed": list(one.changed)}
    if one.kind == "run":
        began = {"started_at": iso(one.started_at), "duration": _seconds(one), "worker": one.worker}
        return kept | {"run": one.run, **began, "text": one.text}
    if one.kind in (PARKED, "other"):
        return kept | {"text": one.text}
    return kept | {"by": one.by, "changed": list(one.changed), "text": one.text}


def _seconds(one: LifeEvent) -> float | None:
    return None if one.duration is None else one.duration.total_seconds()
