"""Find open jobs by the exact value of an argument or of their metadata; a bounded number of jobs is read."""

from __future__ import annotations

import json
from collections.abc import Generator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple, Unpack

from jobfleet.errors import ConfigError, InvalidJob
from jobfleet.functions.published import read_takes
from jobfleet.model import JobResult
from jobfleet.model.status import check_number
from jobfleet.operations.fleet_context import FleetContext
from jobfleet.operations.jobs.details import call_of
from jobfleet.operations.jobs.enqueue import published
from jobfleet.operations.jobs.matching import RUNNING, Filter, JobFilters, Selection, Stream, read, smallest
from jobfleet.operations.lanes import lanes
from jobfleet.operations.operation import Operation, value
from jobfleet.operations.results import running_result, waiting_result
from jobfleet.secret import Redaction
from jobfleet.store.calls import inspect
from jobfleet.store.keys import Lane
from jobfleet.store.records import InRun, InWait, has_id

READ_MOST = 10_000
"""How many open jobs a search reads, unless it is asked for others."""
FORM = "give NAME=VALUE, such as customer=acme"


@dataclass(frozen=True, slots=True)
class Search:
    """The open jobs that have some values.

    Attributes:
        jobs: The jobs: running ones, then waiting ones by urgency; with a filter that has an index, the newest first.
        read: How many open jobs were read.
        is_all: Whether there are no others: neither the number of jobs nor that of reads was the bound.
    """

    jobs: list[JobResult[Any]]
    read: int
    is_all: bool


class Wanted(NamedTuple):
    """A value that is looked for.

    Attributes:
        name: The name of a parameter or of a key of the metadata, or the number of a positional argument from 0.
        text: The value as it was typed.
        value: The value, if the text is JSON; otherwise the text.
    """

    name: str
    text: str
    value: object

    def is_one(self, found: object) -> bool:
        """Whether a value of a job is the one that is looked for."""
        if isinstance(found, str):
            return found in (self.text, self.value)
        if isinstance(found, bool) or isinstance(self.value, bool):
            return found is self.value
        return bool(found == self.value) or (
            not isinstance(found, int | float | Mapping | list) and str(found) == self.text
        )


def read_wanted(context: FleetContext, where: Sequence[str] | str) -> list[Wanted]:
    """Read what is looked for.

    Raises:
        InvalidJob: A text has no name or no sign, or names a value that is never shown.
    """
    redaction, found = Redaction(context.config.redact), []
    for one in (where,) if isinstance(where, str) else where:
        name, sign, text = str(one).partition("=")
        name = name.strip()
        if not sign or not name:
            raise InvalidJob(f"where is {one!r:.100}; {FORM}.", field="where")
        if redaction.hides(name):
            raise InvalidJob(
                f"where names {name!r:.100}, whose values are hidden; search by another one.", field="where"
            )
        try:
            parsed = json.loads(text)
        except (ValueError, RecursionError):
            parsed = text
        found.append(Wanted(name, text, parsed))
    if not found:
        raise InvalidJob(f"where is empty; {FORM}.", field="where")
    return found


def search(
    context: FleetContext,
    where: Sequence[str] | str,
    *,
    limit: int = 50,
    most: int = READ_MOST,
    **filters: Unpack[JobFilters],
) -> Operation[Search]:
    """Find open jobs whose arguments or metadata have all given values.

    Args:
        context: The context of the fleet.
        where: NAME=VALUE, or several; a value is JSON or a text, and matches exactly.
        limit: The most jobs to return.
        most: The most open jobs to read.
        filters: Only jobs that match these, too; see `JobFilters`. One with an index makes the search exact sooner.

    Raises:
        ConfigError: The queue does not exist, or the status is one of ended jobs.
        InvalidJob: A value is wrong, or its name is one that redaction hides.
    """
    check_number(limit)
    check_number(most, field="most")
    wanted, chosen = read_wanted(context, where), Filter(**filters)
    if chosen.status is not None and chosen.status.is_final:
        raise ConfigError(f"status is {chosen.status.value!r}; only open jobs are searched by their values.")
    names = yield from _parameters(context)
    rows = _indexed(context, chosen) if chosen.indexes else _walked(context, chosen)
    jobs: dict[str, JobResult[Any]] = {}  # a job that moves meanwhile may be met twice
    count = 0
    answers: Any = None
    while True:  # the pages of rows, and the calls of the store between them
        try:
            step = rows.send(answers)
        except StopIteration:
            return Search([*jobs.values()], count, is_all=True)
        if not isinstance(step, _Rows):
            answers = yield step
            continue
        answers = None
        for row in step.rows:
            if len(jobs) >= limit or count >= most:
                return Search([*jobs.values()], count, is_all=False)
            count += 1
            if chosen.fits(row.job) and _has(context, row, wanted, names):
                jobs[row.job.id] = row.job


class _Row(NamedTuple):
    job: JobResult[Any]
    envelope: bytes


class _Rows(NamedTuple):
    rows: list[_Row]


def _parameters(context: FleetContext) -> Operation[Mapping[str, tuple[str, ...]]]:
    """The names of the parameters of each published function, in order."""
    fleet = yield from published(context)
    taken = {name: read_takes(record) for name, record in fleet.functions.items()}
    return {name: tuple(one.parameter.name for one in rows) for name, rows in taken.items() if rows is not None}


def _has(context: FleetContext, row: _Row, wanted: Sequence[Wanted], names: Mapping[str, tuple[str, ...]]) -> bool:
    call = call_of(row.envelope, limits=context.limits)
    args, kwargs = call.args or (), call.kwargs or {}
    placed = dict(zip(names.get(row.job.function, ()), args, strict=False))
    numbered = {str(at): one for at, one in enumerate(args)}
    places = (row.job.metadata, kwargs, placed, numbered)
    return all(any(one.name in place and one.is_one(place[one.name]) for place in places) for one in wanted)


def _walked(context: FleetContext, chosen: Filter) -> Generator[Any, Any, None]:
    """The open jobs of the lanes, a page at a time; the calls of the store are yielded, too."""
    every = yield from lanes(context, chosen.queue)
    sections = Selection.sections_of(chosen.status)
    for section in sections:
        for lane in every:
            skip = 0
            while (page := (yield from _page(lane, section, skip))) is not None:
                number, rows = page
                skip += number
                yield _Rows(rows)


def _page(lane: Lane, section: str, skip: int) -> Operation[tuple[int, list[_Row]] | None]:
    """A page of a section of a lane: how many rows it has, and the jobs among them; None at the end."""
    if section == RUNNING:
        now, running = value((yield (inspect.running(lane, skip=skip),)))
        found = [_Row(running_result(row, now), _opened(lane, row.id, row.envelope)) for row in running if has_id(row)]
        return (len(running), found) if running else None
    now, waiting = value((yield (inspect.waiting(lane, int(section), skip=skip),)))
    found = [_Row(waiting_result(row, now), _opened(lane, row.id, row.envelope)) for row in waiting if has_id(row)]
    return (len(waiting), found) if waiting else None


def _opened(lane: Lane, job_id: str, envelope: bytes) -> bytes:
    return envelope if lane.seals is None else lane.seals.open_envelope(job_id, envelope)


def _indexed(context: FleetContext, chosen: Filter) -> Generator[Any, Any, None]:
    """The open jobs of the smallest index, a page at a time; the calls of the store are yielded, too."""
    every = yield from lanes(context, chosen.queue)
    name = yield from smallest(every, chosen.indexes)
    for lane in every:
        stream = Stream(lane, name)
        while (page := (yield from read(context, stream))) is not None:
            yield _Rows([_Row(one.job, one.found.envelope) for one in page if isinstance(one.found, InWait | InRun)])
