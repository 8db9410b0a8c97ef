"""Compute the number of workers that a queue needs, from its samples, counts and workers, and say why.

It costs two round trips, and a command per lane of the queue and per ten minutes of samples.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime, timedelta
from typing import Any

from jobfleet import samples as points
from jobfleet.clock import seconds_or_text
from jobfleet.codec import decode
from jobfleet.errors import EncodingError, InvalidJob
from jobfleet.model import check_queue
from jobfleet.model.scale import (
    AHEAD,
    LONG,
    STEP_S,
    TARGET_BUSY,
    Decision,
    Demand,
    Live,
    Scale,
    ScaleRule,
    Step,
    decide,
)
from jobfleet.model.status import check_number
from jobfleet.operations.fleet_context import FleetContext
from jobfleet.operations.lanes import no_queue, seen
from jobfleet.operations.operation import Operation, value
from jobfleet.operations.queues import QueueInfo, queue_info
from jobfleet.operations.workers import WorkerInfo, workers_of
from jobfleet.samples import COMPLETED, FAILED, FINE, FIRST_GAUGE, GAUGES, RETRIED, RUN, SECOND_US, Point, bounds
from jobfleet.store.calls import inspect
from jobfleet.store.calls import samples as calls
from jobfleet.store.records import FleetSeen

MOST_WORKERS = 10_000
LONGEST_HOLD = 3600.0
LONGEST_WAIT = 86_400.0
RUNNING = FIRST_GAUGE + GAUGES.index("running")
LATEST = datetime.max.replace(tzinfo=UTC)


def scale_rule(
    least: int = 0, most: int = 100, wait: float | timedelta | str = "15s", hold: float | timedelta | str = "5m"
) -> ScaleRule:
    """Check what a queue wants.

    Args:
        least: The smallest number of workers.
        most: The largest number of workers.
        wait: Within which time due jobs should start.
        hold: How long workers are kept after the demand was larger.

    Raises:
        InvalidJob: A value is not valid; `field` names it.
    """
    check_number(least, field="least", least=0)
    check_number(most, field="most", least=1)
    if not least <= most <= MOST_WORKERS:
        raise InvalidJob(
            f"least is {least:,} and most is {most:,}; give 0 <= least <= most <= {MOST_WORKERS:,}.", field="most"
        )
    soon, kept = seconds_or_text(wait, field="wait"), seconds_or_text(hold, field="hold")
    if not 1 <= soon <= LONGEST_WAIT:
        raise InvalidJob(f"wait is {wait!r}; give 1 second to 1 day.", field="wait")
    if not 0 <= kept <= LONGEST_HOLD:
        raise InvalidJob(f"hold is {hold!r}; give 0 seconds to 1 hour.", field="hold")
    return ScaleRule(least, most, soon, kept)


def scale(context: FleetContext, queue: str, rule: ScaleRule) -> Operation[Scale]:
    """Compute the number of workers that a queue needs.

    Args:
        context: The context of the fleet.
        queue: The queue.
        rule: What the queue wants.

    Raises:
        UnknownQueue: There is no such queue.
        InvalidJob: `queue` is not a queue name.
    """
    fleet = yield from seen(context)
    if check_queue(queue) not in fleet.queues:
        raise no_queue(queue, fleet.queues)
    lanes = context.lanes_of(queue, fleet.queues[queue][1])
    until = fleet.now // (FINE.step * SECOND_US)
    begin = until - LONG - 1 - math.ceil(rule.hold / STEP_S)
    chunks = range(begin // FINE.length, (until - 1) // FINE.length + 1)
    series = points.queue_series(queue)
    parts = [calls.points(context.keys, f"{FINE.name}:{chunk}", ["", series]) for chunk in chunks]
    answers = yield [calls.samples(context.keys), *map(inspect.counts, lanes), *parts]
    head: calls.Head = value(answers[:1])
    counts = queue_info(queue, [value([answer]) for answer in answers[1 : len(lanes) + 1]])
    found: dict[int, Step] = {}
    for chunk, answer in zip(chunks, answers[len(lanes) + 1 :], strict=True):
        _add(found, chunk, value([answer]), series)
    last = until if head.last is None or head.last < until - 2 else head.last + 1
    steps = [found.get(index) for index in range(begin, last)]
    serving = [one for one in workers_of(context, fleet) if queue in one.queues]
    claiming = [one for one in serving if not one.is_gone and one.state == "running"]
    live = _live(context, counts, claiming, serving)
    made = decide(rule, steps, live)
    leaving = max(0, live.current - made.workers)
    order = _removable(claiming, code_first_seen(fleet, head))
    return _scale(rule, counts, live, made, tuple(order[:leaving]))


def _add(found: dict[int, Step], chunk: int, values: Mapping[str, bytes], series: str) -> None:
    """Add the steps of a chunk."""
    marks = points.unpack_marks(values[""])
    rows = points.unpack(values[series], marks)
    for step in marks:
        found[chunk * FINE.length + step] = _step(rows.get(step, {}))


def _step(point: Point) -> Step:
    spread: Mapping[int, int] = point.get(RUN, {})
    return Step(
        ended=point.get(COMPLETED, 0) + point.get(FAILED, 0) + point.get(RETRIED, 0),
        waiting=point.get(FIRST_GAUGE, 0),
        running=point.get(RUNNING, 0),
        runs=sum(spread.values()),
        spent=sum(count * sum(bounds(bucket)) / 2e6 for bucket, count in spread.items()),
    )


def _live(
    context: FleetContext, counts: QueueInfo, claiming: Sequence[WorkerInfo], serving: Sequence[WorkerInfo]
) -> Live:
    ended = counts.totals["completed"] + counts.totals["failed"] + counts.totals["retried"]
    sized = [one.slots for one in claiming if one.slots] or [one.slots for one in serving if one.slots]
    slots = sum(sized) / len(sized) if sized else float(context.config.slots * context.config.processes)
    return Live(
        waiting=counts.queued,
        running=counts.running,
        current=len(claiming),
        slots=max(1.0, slots),
        free=sum(max(0, one.slots - one.running) for one in claiming),
        is_paused=counts.paused is not None,
        duration=counts.run_time.total_seconds() / ended if ended else None,
    )


def _removable(claiming: Sequence[WorkerInfo], seen: Mapping[str, int]) -> list[str]:
    """The workers in the order in which they should go: idle ones first, then those with the oldest code."""
    order = [(one.running, seen[one.id], one.started or LATEST, one.id) for one in claiming]
    return [row[-1] for row in sorted(order)]


def code_first_seen(fleet: FleetSeen, head: calls.Head) -> dict[str, int]:
    """When the version of each worker's code was seen first, in µs; the present time if no sample has it yet.

    Args:
        fleet: The workers.
        head: The versions of the samples.
    """
    return {worker.id: head.versions.get(_label(worker.account), fleet.now) for worker in fleet.workers}


def _label(account: bytes) -> str:
    """The version of a worker's code, as the samples know it; empty if it cannot be read."""
    try:
        fields: Any = decode(account) if account else None
    except EncodingError:
        fields = None
    return str(fields.get("label") or fields.get("version") or "")[:100] if isinstance(fields, dict) else ""


def _scale(rule: ScaleRule, counts: QueueInfo, live: Live, made: Decision, remove: tuple[str, ...]) -> Scale:
    took = made.demand.duration
    is_known = not made.demand.is_assumed
    slots = live.current * live.slots
    return Scale(
        queue=counts.name,
        workers=made.workers,
        current=live.current,
        reason=reason_of(rule, live, made),
        remove=remove,
        waiting=live.waiting,
        running=live.running,
        slots=round(live.slots),
        arrival_rate=round(made.demand.rate, 3),
        mean_duration=timedelta(seconds=round(took, 6)) if is_known else None,
        backlog=timedelta(seconds=round(live.waiting * took / slots, 3)) if is_known and slots else None,
    )


SHOWN = 0.005
"""The share of running jobs from which the text counts those that still run later."""


def reason_of(rule: ScaleRule, live: Live, made: Decision) -> str:
    """Return the reason for a decision.

    Args:
        rule: What the queue wants.
        live: Its present state.
        made: The decision.
    """
    demand = made.demand
    waiting = amount(live.waiting, "waiting job")
    if live.is_paused:
        parts = [
            f"The queue is paused, so its {waiting} {verb(live.waiting, 'count')} for nothing.",
            f"{amount(live.running, 'running job')} {verb(live.running, 'keep')} {amount(demand.busy, 'slot')} busy.",
        ]
    else:
        parts = [_busy(live, demand), _due(rule, live, made)]
    parts.append(f"With {amount(live.slots, 'slot')} per worker this takes {amount(made.wanted, 'worker')}.")
    needed = math.ceil(demand.slots / live.slots - 1e-9)
    if needed != made.wanted:
        limit = f"most is {rule.most:,}" if needed > made.wanted else f"least is {rule.least:,}"
        parts.append(f"The demand is for {needed:,}, but {limit}.")
    stay = f"{amount(made.workers, 'worker')} {verb(made.workers, 'stay')}"
    if made.why == "kept":
        parts.append(f"{stay}, because the demand was larger in the last {rule.hold:,.4g} s.")
    elif made.why == "unknown":
        parts.append(f"{stay}, because the last {rule.hold:,.4g} s have too few samples; a reaper takes them.")
    return " ".join(parts)


def _busy(live: Live, demand: Demand) -> str:
    """The slots for the jobs that arrive or run, with each number that they follow from."""
    rate = amount(demand.rate, "job")
    took = f"{demand.duration:,.3g} s{' (assumed, because no run has ended yet)' if demand.is_assumed else ''}"
    keeps = verb(demand.rate, "keep")
    text = f"{rate} per second of {took} {keeps} {amount(demand.arriving, 'slot')} busy (rate × time ÷ {TARGET_BUSY})"
    computed = demand.arriving
    if live.running and demand.remaining >= SHOWN:
        computed = live.running * demand.remaining + demand.arriving * (1 - demand.remaining)
        running = amount(live.running, "running job")
        text += f"; {demand.remaining:.0%} of {running} will still run in {AHEAD:,.0f} s, which makes "
        text += amount(computed, "slot")
    if demand.busy > computed * (1 + SHOWN):
        count = f"{amount(demand.busy, 'slot')} {verb(demand.busy, 'count')}"
        text += f"; on average {amount(demand.average, 'job')} ran in the last minute, so {count}"
    return f"{text}."


def _due(rule: ScaleRule, live: Live, made: Decision) -> str:
    """What the jobs that are due need."""
    if made.is_held_back:
        return (
            f"{amount(live.waiting, 'job')} {verb(live.waiting, 'wait')} although {amount(live.free, 'slot')} "
            f"{'is' if live.free == 1 else 'are'} free, so more workers would not start them; 'jobfleet explain' tells "
            "for what one of them waits."
        )
    waiting = amount(live.waiting, "waiting job")
    backlog = amount(made.demand.backlog, "slot")
    return f"{waiting} {verb(live.waiting, 'need')} {backlog} to start within {rule.wait:,.4g} s."


def amount(number: float, word: str) -> str:
    """A number of things, such as ``1 worker`` or ``0.167 slots``; fractions have three digits."""
    text = f"{number:,}" if isinstance(number, int) else f"{number:,.3g}"
    return f"{text} {word}" if text == "1" else f"{text} {word}s"


def verb(number: float, word: str) -> str:
    """The verb for a number of things: ``1 worker stays``, ``2 workers stay``."""
    return f"{word}s" if amount(number, "") == "1 " else word
