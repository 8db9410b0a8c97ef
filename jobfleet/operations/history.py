"""Read the past of a fleet, of a queue or of a function from its samples.

A window costs two round trips and at most 16 commands, however many queues and functions there are: one hash per chunk
of time, of which one field is read.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import UTC, datetime, timedelta
from typing import Any, NamedTuple

from jobfleet.clock import seconds_or_text
from jobfleet.errors import ConfigError, InvalidJob, JobfleetError
from jobfleet.model import check_queue
from jobfleet.model.history import Deploy, FunctionTimes, History, HistoryPoint, Percentiles, QueueTrend
from jobfleet.operations.fleet_context import FleetContext
from jobfleet.operations.lanes import no_queue, seen
from jobfleet.operations.operation import Operation, value
from jobfleet.samples import (
    ARCHIVED_S,
    COARSE,
    COMPLETED,
    COUNTS,
    FAILED,
    FINE,
    FIRST_GAUGE,
    GAUGES,
    HOUR_S,
    OLDEST,
    RETRIED,
    RUN,
    SECOND_US,
    STARTED,
    TOTAL,
    WAIT,
    Point,
    Resolution,
    follow,
    function_series,
    quantiles,
    queue_series,
    unpack,
    unpack_marks,
)
from jobfleet.store.calls import samples as calls

STEPS = (10, 20, 30, 60, 120, 300, 600, 900, 1800, 3600, 7200, 14_400, 21_600, 43_200, 86_400)
"""Steps in seconds from which the default is chosen."""
FEW = 60
"""A default step divides a window into at most this number of steps."""
MOST = 10_000
SHARES = (0.5, 0.95, 0.99)
FUNCTIONS_READ = 50
"""Functions whose samples `busiest` reads, so that a page costs a bounded number of bytes."""
QUEUES_READ = 50
"""The same for the queues of `trends`."""
LAST_HOUR = 3600
OF_FUNCTIONS = frozenset({"started", "completed", "failed", "retried", "cancelled"})


class Window(NamedTuple):
    """What is asked for.

    Attributes:
        series: The name of the series.
        length: Its length in seconds.
        step: The duration of a step in seconds.
    """

    series: str
    length: int
    step: int

    @property
    def needs_archive(self) -> bool:
        """Whether a part of it is only in the archive."""
        return self.length > COARSE.kept


Steps = dict[Resolution, dict[int, Point]]
"""Points by the time of the beginning of their step, in seconds since 1970. A step without an entry was not sampled."""


def window(context: FleetContext, queue: object, function: object, since: object, step: object) -> Window:
    """Check what is asked for, and choose the step.

    Raises:
        InvalidJob: A value is of a wrong kind, or both a queue and a function are given.
        ConfigError: The samples are not kept for so long, or not in such small steps.
    """
    if queue is not None and function is not None:
        raise InvalidJob(
            "Give a queue or a function, not both; the history of a function has its runs in all queues.",
            field="function",
        )
    if function is not None and (not isinstance(function, str) or not function):
        raise InvalidJob(f"function is {function!r:.100}; give the registered name of a function.", field="function")
    series = TOTAL if queue is None else queue_series(check_queue(queue))
    series = series if function is None else function_series(function)
    length = _length(context, since)
    return Window(series, length, _step(length, step))


def _length(context: FleetContext, since: object) -> int:
    if isinstance(since, datetime):
        length = (datetime.now(UTC) - since.astimezone(UTC)).total_seconds()
        if length <= 0:
            raise InvalidJob(f"since is {since.isoformat()}, which is not in the past.", field="since")
    else:
        length = seconds_or_text(since, field="since")
    if length < FINE.step:
        raise InvalidJob(
            f"since is {since!r}; the fleet is sampled every {FINE.step} s: give that or more.", field="since"
        )
    if length > ARCHIVED_S:
        raise ConfigError(f"The history goes back 90 days, not {length / 86_400:,.0f}: ask for less.")
    if length > COARSE.kept and context.config.archive_url is None:
        raise ConfigError(
            "Without an archive the history goes back 48 hours: ask for less, or set archive_url "
            "/ JOBFLEET_ARCHIVE_URL."
        )
    return round(length)


def _step(length: int, step: object) -> int:
    finest = FINE.step if length <= FINE.kept else COARSE.step if length <= COARSE.kept else HOUR_S
    if step is None:
        return next((one for one in STEPS if one >= finest and length <= one * FEW), STEPS[-1])
    given = seconds_or_text(step, field="step")
    if given < finest or given % finest:
        kept = f"for the last {length / 3600:,.3g} h, samples are kept every {finest} s"
        raise ConfigError(f"step is {step!r}, but {kept}: give a multiple of {finest} s.")
    if length / given > MOST:
        raise ConfigError(
            f"step is {step!r}, which makes {length / given:,.0f} steps of this time; ask for {MOST:,} at most."
        )
    return round(given)


def read(
    context: FleetContext,
    queue: str | None,
    function: str | None,
    *,
    since: object,
    step: object,
    hours: Mapping[int, Point] | None = None,
    now_us: int | None = None,
) -> Operation[History]:
    """Read a history.

    Args:
        context: The context of the fleet.
        queue: The queue; None for all.
        function: The function; None for all.
        since: How far back: a duration, or a time.
        step: The duration of a step; None for a good one.
        hours: The points of hours that the archive has.
        now_us: The present time in µs in place of Redis's.

    Raises:
        UnknownQueue: There is no such queue.
        InvalidJob: A value is not valid; or no worker knows the function, and it never ran.
        ConfigError: The samples are not kept for so long, or not in such small steps.
    """
    asked = window(context, queue, function, since, step)
    head: calls.Head = value((yield (calls.samples(context.keys),)))
    head = head if now_us is None else head._replace(now=now_us)
    until = _until(head)
    begin = (until - asked.length) // asked.step * asked.step
    parts = _parts(asked, begin, until)
    answers = yield [calls.points(context.keys, f"{unit.name}:{chunk}", ["", asked.series]) for unit, chunk in parts]
    found: Steps = {unit: {} for unit in (FINE, COARSE)}
    for (unit, chunk), answer in zip(parts, answers, strict=True):
        if isinstance(answer, JobfleetError):
            raise answer
        _add(found[unit], unit, chunk, answer[""], answer[asked.series])
    points = _joined(found, hours or {}, until)
    if not any(points.values()):
        yield from _check_known(context, queue, function)
    return _history(queue, function, asked, (begin, until), points, head)


def busiest(context: FleetContext, *, limit: int = 20, now_us: int | None = None) -> Operation[list[FunctionTimes]]:
    """List the functions with the most runs in the last hour, of the first `FUNCTIONS_READ` that workers publish.

    It costs as many commands as the history of one function.

    Args:
        context: The context of the fleet.
        limit: The most functions to return.
        now_us: The present time in µs in place of Redis's.
    """
    fleet = yield from seen(context)
    hour = yield from last_hour_of(context, sorted(fleet.functions)[:FUNCTIONS_READ], now_us=now_us)
    rows = list(hour.values())
    rows = [row for row in rows if row.started or row.wait]
    return sorted(rows, key=lambda row: (-row.started, row.function))[:limit]


def last_hour_of(
    context: FleetContext, functions: Sequence[str], *, now_us: int | None = None
) -> Operation[dict[str, FunctionTimes]]:
    """Read what functions did in the last hour, by name, at most `FUNCTIONS_READ`; nothing if nobody took samples."""
    hour = yield from _last_hour(context, [function_series(name) for name in functions], now_us)
    found = {}
    for name in functions:
        whole: Point = {}
        points = hour.points(function_series(name))
        for at in sorted(points):
            follow(whole, points[at])
        if points:
            found[name] = _function_times(name, whole)
    return found


def trends(context: FleetContext, queues: Sequence[str], *, now_us: int | None = None) -> Operation[list[QueueTrend]]:
    """Read what ended and what waited in each whole minute of the last hour, of the first `QUEUES_READ` queues.

    It costs as many commands as the history of one queue.

    Args:
        context: The context of the fleet.
        queues: The names of the queues.
        now_us: The present time in µs in place of Redis's.
    """
    names = list(queues)[:QUEUES_READ]
    hour = yield from _last_hour(context, [queue_series(name) for name in names], now_us)
    minutes = range(hour.begin, hour.until // COARSE.step * COARSE.step, COARSE.step)
    found = []
    for name in names:
        points, steps = hour.points(queue_series(name)), dict[int, Point]()
        for at in sorted(points):
            follow(steps.setdefault(at // COARSE.step * COARSE.step, {}), points[at])
        row = [steps.get(at) for at in minutes]
        ended = [None if one is None else one.get(COMPLETED, 0) + one.get(FAILED, 0) for one in row]
        waiting = [None if one is None else one.get(FIRST_GAUGE, 0) for one in row]
        found.append(QueueTrend(name, _moment(hour.begin), timedelta(seconds=COARSE.step), ended, waiting))
    return found


class _Hour(NamedTuple):
    """The samples of some series in the last hour.

    Attributes:
        begin: Its beginning, at a whole minute, in seconds since 1970.
        until: The end of the last sample.
        parts: The points of all series, by chunk.
    """

    begin: int
    until: int
    parts: Sequence[tuple[Resolution, int, Mapping[str, bytes]]]

    def points(self, series: str) -> dict[int, Point]:
        """The points of a series."""
        found: Steps = {unit: {} for unit in (FINE, COARSE)}
        for unit, chunk, answer in self.parts:
            _add(found[unit], unit, chunk, answer[""], answer[series])
        return {at: one for at, one in _joined(found, {}, self.until).items() if self.begin <= at < self.until}


def _last_hour(context: FleetContext, series: Sequence[str], now_us: int | None) -> Operation[_Hour]:
    """Read the samples of some series in the last hour."""
    head: calls.Head = value((yield (calls.samples(context.keys),)))
    until = _until(head if now_us is None else head._replace(now=now_us))
    begin = (until - LAST_HOUR) // COARSE.step * COARSE.step
    parts = _parts(Window("", LAST_HOUR, COARSE.step), begin, until) if series else []
    answers = yield [calls.points(context.keys, f"{unit.name}:{chunk}", ["", *series]) for unit, chunk in parts]
    read_parts = [(unit, chunk, value([answer])) for (unit, chunk), answer in zip(parts, answers, strict=True)]
    return _Hour(begin, until, read_parts)


def _function_times(name: str, whole: Point) -> FunctionTimes:
    return FunctionTimes(
        function=name,
        started=whole.get(STARTED, 0),
        completed=whole.get(COMPLETED, 0),
        failed=whole.get(FAILED, 0),
        retried=whole.get(RETRIED, 0),
        wait=_percentiles(whole, WAIT),
        run=_percentiles(whole, RUN),
    )


def _until(head: calls.Head) -> int:
    """The end of the last sample, or the present time if that was long ago, in seconds since 1970."""
    now = head.now // (FINE.step * SECOND_US) * FINE.step
    sampled = 0 if head.last is None else (head.last + 1) * FINE.step
    return sampled if now - 2 * FINE.step <= sampled <= now else now


def _parts(asked: Window, begin: int, until: int) -> list[tuple[Resolution, int]]:
    """The chunks to read: minutes, and steps of ten seconds for those that are not written yet; or these for all."""
    if asked.step % COARSE.step:
        return [(FINE, chunk) for chunk in _chunks(FINE, begin, until)]
    fine = _chunks(FINE, max(begin, until - FINE.step * FINE.length), until)
    coarse = _chunks(COARSE, max(begin, until - COARSE.kept), until)
    return [*((COARSE, chunk) for chunk in coarse), *((FINE, chunk) for chunk in fine)]


def _chunks(unit: Resolution, begin: int, until: int) -> range:
    length = unit.step * unit.length
    return range(begin // length, (until - 1) // length + 1)


def _add(points: dict[int, Point], unit: Resolution, chunk: int, marks: bytes, encoded: bytes) -> None:
    """Add the points of a chunk; a step that was sampled, and has no point, has an empty one."""
    sampled = unpack_marks(marks)
    found = unpack(encoded, sampled)
    for step in sampled:
        points[(chunk * unit.length + step) * unit.step] = found.get(step, {})


def _joined(found: Steps, hours: Mapping[int, Point], until: int) -> dict[int, Point]:
    """Return each time once: archived hours, then minutes, then the steps of minutes that are not written yet."""
    kept = -(-(until - COARSE.kept) // HOUR_S) * HOUR_S if hours else 0
    points = {at: point for at, point in hours.items() if at < kept}
    points |= {at: point for at, point in found[COARSE].items() if at >= kept}
    step = COARSE.step
    return points | {at: point for at, point in found[FINE].items() if at // step * step not in found[COARSE]}


def _check_known(context: FleetContext, queue: str | None, function: str | None) -> Operation[None]:
    """Raise an error if what has no samples does not exist."""
    if queue is None and function is None:
        return
    fleet = yield from seen(context)
    if queue is not None and queue not in fleet.queues:
        raise no_queue(queue, fleet.queues)
    known = {*fleet.functions, *context.registry.functions}
    if function is not None and function not in known:
        from jobfleet.model.names import similar_queue

        close = similar_queue(function, known)
        meant = f"; did you mean {close!r}?" if close else "."
        raise InvalidJob(
            f"No worker has published {function!r}, and it has not run in this time{meant}", field="function"
        )


def _history(
    queue: str | None,
    function: str | None,
    asked: Window,
    bounds: tuple[int, int],
    found: Mapping[int, Point],
    head: calls.Head,
) -> History:
    begin, until = bounds
    steps: dict[int, Point] = {}
    whole: Point = {}
    for at in sorted(at for at in found if begin <= at < until):
        follow(steps.setdefault(at // asked.step * asked.step, {}), found[at])
        follow(whole, found[at])
    deploys = sorted((at, version) for version, at in head.versions.items())
    return History(
        queue=queue,
        function=function,
        since=_moment(begin),
        until=_moment(until),
        step=timedelta(seconds=asked.step),
        points=tuple(_point(at, steps.get(at), function) for at in range(begin, until, asked.step)),
        deploys=tuple(
            Deploy(datetime.fromtimestamp(at / 1e6, UTC), version)
            for at, version in deploys
            if begin <= at / SECOND_US <= head.now
        ),
        wait=_percentiles(whole, WAIT),
        run=_percentiles(whole, RUN),
    )


def _point(at: int, point: Point | None, function: str | None) -> HistoryPoint:
    if point is None:
        return HistoryPoint(_moment(at))
    names = [name for name in COUNTS if function is None or name in OF_FUNCTIONS]
    values: dict[str, Any] = {name: point.get(COUNTS.index(name), 0) for name in names}
    if function is None:
        values |= {name: point.get(FIRST_GAUGE + place, 0) for place, name in enumerate(GAUGES)}
        values["oldest_wait"] = timedelta(milliseconds=point.get(OLDEST, 0))
    return HistoryPoint(_moment(at), wait=_percentiles(point, WAIT), run=_percentiles(point, RUN), **values)


def _percentiles(point: Point, field: int) -> Percentiles | None:
    spread = point.get(field)
    if not spread or not sum(spread.values()):
        return None
    return Percentiles(*(timedelta(microseconds=us) for us in quantiles(spread, SHARES)))


def _moment(seconds: int) -> datetime:
    return datetime.fromtimestamp(seconds, UTC)
