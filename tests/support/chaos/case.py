"""One finished run, as the checker sees it: the history, the server's trail and the final state, read from a folder."""

from __future__ import annotations

import json
from collections import Counter, defaultdict
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any, NamedTuple

from tests.support.chaos.aof import FILE
from tests.support.chaos.history import Record, read_history
from tests.support.chaos.trail import Happened, Trail, follow

RUN, FINAL = "run.json", "final.json"
LIMITED = "chaos.narrow"
"""The function whose jobs share a named limit."""
TERMINAL = {"completed", "failed", "cancelled", "expired"}


class Asked(NamedTuple):
    """One job that a producer has asked for.

    Attributes:
        id: Its id.
        calls: The numbers of the calls that asked for it.
        since: When the first call began.
        acknowledged: When a call was first answered; None if none was.
        facts: What was asked for.
    """

    id: str
    calls: set[int]
    since: float
    acknowledged: float | None
    facts: dict[str, Any]


@dataclass
class Case:
    """A run.

    Attributes:
        history: All records in the order of time.
        trail: What the server did; None where the fault destroyed it.
        run: The fault, the seed, and what it is allowed to lose.
        final: The final state of each job, and of the keys.
    """

    history: list[Record]
    trail: Trail | None
    run: dict[str, Any]
    final: dict[str, Any]
    _found: dict[str, Asked] = field(default_factory=dict)

    @classmethod
    def read(cls, folder: Path) -> Case:
        """Read a run that was saved."""
        run = json.loads((folder / RUN).read_text())
        path = folder / FILE
        history = read_history(folder)
        limited = {one.id for one in history if one.value.get("function") == LIMITED}
        trail = follow(path, caps=run.get("caps", {}), limited=limited) if path.exists() else None
        return cls(history, trail, run, json.loads((folder / FINAL).read_text()))

    @cached_property
    def asked(self) -> dict[str, Asked]:
        """The jobs that producers have asked for, by id. A job whose unique key was taken stays unacknowledged."""
        found: dict[str, Asked] = {}
        open_calls: dict[str, Record] = {}
        for record in self.history:
            if not record.op.startswith("enqueue"):
                continue
            if record.kind == "invoke":
                open_calls[record.process] = record
                for job_id, call in _ids(record):
                    one = found.setdefault(job_id, Asked(job_id, set(), record.at, None, dict(record.value)))
                    one.calls.add(call)
                continue
            invoke = open_calls.pop(record.process, None)
            if record.kind != "ok" or invoke is None:
                continue
            for (job_id, _), answer in zip(_ids(invoke), _answers(record), strict=False):
                one = found[job_id]
                if answer == job_id and one.acknowledged is None:
                    found[job_id] = one._replace(acknowledged=record.at)
        return found

    @cached_property
    def added(self) -> set[str]:
        """The jobs that runs have added to their flows."""
        return {job_id for record in self.history if record.op == "added" for job_id in record.value["ids"]}

    def noted(self, op: str) -> dict[str, list[Record]]:
        """What runs have noted of an operation, by job, in the order of time."""
        found: dict[str, list[Record]] = defaultdict(list)
        for record in self.history:
            if record.op == op and record.kind == "info":
                found[record.id].append(record)
        return found

    @cached_property
    def acknowledged(self) -> dict[str, Asked]:
        """Those whose enqueue was answered."""
        return {job_id: one for job_id, one in self.asked.items() if one.acknowledged is not None}

    @cached_property
    def runs(self) -> dict[str, list[Record]]:
        """The starts of each job, in the order of time."""
        found: dict[str, list[Record]] = defaultdict(list)
        for record in self.history:
            if record.op == "run" and record.kind == "invoke":
                found[record.id].append(record)
        return found

    @cached_property
    def ends(self) -> dict[tuple[str, int], float]:
        """When the runs that came to their end did so, by job and token."""
        done = (one for one in self.history if one.op == "run" and one.kind == "ok")
        return {(one.id, one.token): one.at for one in done}

    @cached_property
    def grants(self) -> dict[str, list[Happened]]:
        """The grants of each job in the server's order."""
        return self._by_job("granted")

    @cached_property
    def endings(self) -> dict[str, list[Happened]]:
        """The endings of each job in the server's order."""
        return self._by_job("ended")

    def _by_job(self, event: str) -> dict[str, list[Happened]]:
        found: dict[str, list[Happened]] = defaultdict(list)
        for one in self.trail.of(event) if self.trail else ():
            found[one.id].append(one)
        return found

    def state_of(self, job_id: str) -> dict[str, Any]:
        """The final state of a job; empty if it is unknown."""
        return dict(self.final["jobs"].get(job_id) or {})

    def may_be_lost(self, at: float) -> bool:
        """Whether the fault was allowed to lose what was acknowledged at a time."""
        return any(begin <= at <= end for begin, end in self.run.get("windows", []))

    def is_excused(self, one: Asked) -> bool:
        """Whether the fault was allowed to lose an acknowledged job, at the level at which it was acknowledged."""
        if one.acknowledged is None or self.run.get("level") in self.run.get("keeps", ()):
            return False
        return self.may_be_lost(one.acknowledged)

    @cached_property
    def half_written(self) -> Counter[str]:
        """The keys in which dependants may wait whose guard was not lifted, with how many there are in each.

        Their enqueue never returned, or the fault was allowed to lose the lifting, which is its last write. A sweep
        lifts the guard ten minutes later.
        """
        return Counter(key for job_id, key in self.final.get("guarded", {}).items() if self.may_keep_guard(job_id))

    def may_keep_guard(self, job_id: str) -> bool:
        """Whether a job that has a guard may have it."""
        one = self.asked.get(job_id)
        return job_id in self.final.get("guarded", {}) and (
            job_id not in self.acknowledged or (one is not None and self.is_excused(one))
        )

    @cached_property
    def outages(self) -> dict[str, float]:
        """For each queue, the longest time from the beginning of an enqueue to the next one that was answered."""
        begun: dict[str, list[float]] = defaultdict(list)
        longest: dict[str, float] = defaultdict(float)
        for record in self.history:
            if record.op.startswith("enqueue") and record.process != "stage":
                queue = record.id.partition(".")[0] or "default"
                if record.kind == "invoke":
                    begun[queue].append(record.at)
                elif record.kind == "ok":
                    longest[queue] = max(longest[queue], record.at - min(begun.pop(queue, [record.at])))
        return dict(longest)

    @property
    def has_losses(self) -> bool:
        """Whether the fault was allowed to lose writes."""
        return bool(self.run.get("windows"))

    def spans(self, op: str) -> list[tuple[float, float]]:
        """When the calls of one kind began and ended; without an end if their outcome is unknown."""
        found: list[tuple[float, float]] = []
        opened: dict[str, float] = {}
        for record in self.history:
            if record.op == op and record.kind == "invoke":
                opened[record.process] = record.at
            elif record.op == op and record.process in opened:
                begun = opened.pop(record.process)
                found.append((begun, float("inf") if record.kind == "unknown" else record.at))
        return found + [(begun, float("inf")) for begun in opened.values()]

    def answered(self, op: str) -> list[tuple[Record, Record]]:
        """Calls of one kind with the answer of each."""
        found, opened = [], {}
        for record in self.history:
            if record.op == op and record.kind == "invoke":
                opened[record.process] = record
            elif record.op == op and record.kind == "ok" and record.process in opened:
                found.append((opened.pop(record.process), record))
            elif record.op == op:
                opened.pop(record.process, None)
        return found


def _ids(invoke: Record) -> list[tuple[str, int]]:
    if invoke.op == "enqueue_many":
        return list(zip(invoke.value["ids"], invoke.value["calls"], strict=True))
    return [(invoke.id, invoke.value["call"])]


def _answers(record: Record) -> list[str]:
    answer = record.value["answer"]
    return answer if isinstance(answer, list) else [answer]
