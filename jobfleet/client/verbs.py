"""What both clients can do, written once.

A verb is a generator: it yields calls to run in one pipeline and is sent their values. `Fleet`
drives it with a `Store`, `AsyncFleet` with an `AsyncStore`; nothing is written twice for `await`.
"""

from __future__ import annotations

import difflib
import itertools
import warnings
from collections.abc import Generator, Iterable, Iterator, Sequence
from contextlib import suppress
from typing import TYPE_CHECKING, Any, TypeVar, cast

from jobfleet.client import conflict
from jobfleet.client.report import result_of
from jobfleet.client.space import REMEMBERED, Space
from jobfleet.client.submit import Resolved, Submission
from jobfleet.clock import monotonic, span
from jobfleet.errors import InvalidJob, JobfleetError, JobNotFound
from jobfleet.model import Job, JobResult, Receipt
from jobfleet.store.call import Call
from jobfleet.store.calls import control, inspect, journal
from jobfleet.store.calls.enqueue import enqueue
from jobfleet.store.keys import Lane
from jobfleet.store.trip import Making
from jobfleet.store.values import FleetSeen, Holder

if TYPE_CHECKING:
    from jobfleet.store.aio import AsyncStore

T = TypeVar("T")
Verb = Generator[Sequence[Call[Any]], list[Any], T]
Bulk = Generator[Sequence[Call[Any]] | Making, list[Any], T]
"""A verb that may let its calls be sent as they are made."""

TOMBSTONE_MS = conflict.TOMBSTONE_MS


def value(results: list[Any]) -> Any:
    """The one value of a trip, or its error raised."""
    if isinstance(results[0], JobfleetError):
        raise results[0]
    return results[0]


async def drive(store: AsyncStore, verb: Bulk[T]) -> T:
    """Run a verb."""
    answers: Any = None
    try:
        while True:
            answers = await store.run_many(verb.send(answers))
    except StopIteration as end:
        return cast("T", end.value)


def begun(verb: Verb[T]) -> T | Verb[T]:
    """Run a verb as far as it asks nothing: its value, or what is left of it."""
    try:
        calls = next(verb)
    except StopIteration as end:
        return cast("T", end.value)
    return _resumed(verb, calls)


def _resumed(verb: Verb[T], calls: Sequence[Call[Any]]) -> Verb[T]:
    try:
        while True:
            calls = verb.send((yield calls))
    except StopIteration as end:
        return cast("T", end.value)


def prepare(space: Space, job: Job) -> Verb[Submission]:
    """Write a job down, after looking up what is not known of its function and queue."""
    if job.cron_expression is not None:
        raise InvalidJob("cron_expression makes a recurring job: enqueue it by itself.", field="cron_expression")
    if job.tz is not None:
        raise InvalidJob("tz is the time zone of cron_expression, which is not given.", field="tz")
    sent = space.quick(job, monotonic())
    if sent is not None:
        return sent
    function = space.resolved(job)
    if function is None:
        function = yield from _look_up(space, job)
    elif not function.is_registered and function.name not in space.unregistered:
        yield from _check_unregistered(space, function.name)
    queue = space.queue_of(job, function)
    if not space.has_queue(queue):
        yield from open_queue(space, queue)
    return space.submission(job, function)


def open_queue(space: Space, queue: str) -> Verb[None]:
    """Make a queue known; lanes that are new to us are journalled before anything happens in them."""
    answers = yield (space.opening(queue), journal.consumers(space.keys))
    home, lanes = value(answers[:1])
    groups = value(answers[1:])
    if groups and space.queues.get(queue, (0.0, 0, 0))[2] != lanes:
        made = [(lane, group, most) for lane in space.lanes_of(queue, lanes) for group, most in groups.items()]
        yield tuple(journal.register(lane, group, most=most) for lane, group, most in made)
    space.remember(queue, (home, lanes))


def _published(space: Space) -> Verb[FleetSeen]:
    looked, seen = space.published
    if seen is None or monotonic() - looked > REMEMBERED:
        seen = value((yield (space.looking(),)))
        space.published = (monotonic(), seen)
    return seen


def _check_unregistered(space: Space, name: str) -> Verb[None]:
    """Warn, once, when live workers are there and none of them runs a plain function."""
    from jobfleet.client.admin import workers_of

    space.unregistered.add(name)
    if space.registry.workers:
        return
    seen = yield from _published(space)
    alive = [worker for worker in workers_of(space, seen) if not worker.is_gone]
    module = name.rpartition(".")[0]
    if alive and name not in seen.functions and not any(module in worker.undecorated for worker in alive):
        warnings.warn(
            f"No live worker runs {name!r}, which is not registered: decorate it with @job or call "
            f"register_job_function({name!r}, …); a worker inside this program runs it as it is, as do workers with "
            "allow_undecorated = true.",
            UserWarning,
            stacklevel=2,
        )


def _look_up(space: Space, job: Job) -> Verb[Resolved]:
    seen = yield from _published(space)
    function = space.resolved(job)
    if function is not None:
        return function
    name = str(job.function)
    close = difflib.get_close_matches(name, sorted(seen.functions), n=1)
    hint = f"; did you mean {close[0]!r}?" if close else "."
    warnings.warn(
        f"No worker has published {name!r}{hint} The job is parked; unless one does within "
        f"{span(space.config.unknown_grace)}, it goes to the dead letters.",
        UserWarning,
        stacklevel=2,
    )
    return Resolved(name, {})


def receipt(sent: Submission, *, created: bool) -> Receipt:
    """The answer for one job."""
    return Receipt(sent.entry.id, created, sent.status)


def submitting(space: Space, job: Job) -> Verb[Receipt]:
    """The verb that a job asks for: enqueue it, keep it as a recurring one, or let it wait for others."""
    if job.depends_on is not None:
        from jobfleet.client import flow

        return flow.submit(space, job)
    if job.cron_expression is None:
        return submit(space, job)
    from jobfleet.client import cron  # croniter is for those who use it

    return cron.submit(space, job)


def submit(space: Space, job: Job) -> Verb[Receipt]:
    """Enqueue one job.

    Raises:
        DuplicateJob: Another job holds its unique key, and it asked to be told so.
    """
    sent = yield from prepare(space, job)
    answer = value((yield (enqueue(sent.lane, (sent.entry,)),)))[0]
    if isinstance(answer, Holder):
        return (yield from conflict.settle_one(sent, answer))
    return receipt(sent, created=answer)


def batches(items: Iterable[T], size: int) -> Iterator[list[T]]:
    """Cut into lists of at most `size`."""
    iterator = iter(items)
    while part := list(itertools.islice(iterator, size)):
        yield part


def poll(space: Space, job_id: str) -> Verb[JobResult[Any]]:
    """What is known of a job.

    Raises:
        JobNotFound: Nothing is.
    """
    lane = space.keys.lane_of(job_id)
    found = value((yield (inspect.status(lane, (job_id,)),)))
    return result_of(job_id, found[1][0], found[0], limits=space.limits)


def poll_many(space: Space, ids: Sequence[str]) -> Verb[list[JobResult[Any] | None]]:
    """What is known of some jobs; None for those unknown."""
    lanes: dict[Lane, list[str]] = {}
    for job_id in ids:
        with suppress(JobNotFound):  # of what is no id, nothing is known either
            lanes.setdefault(space.keys.lane_of(job_id), []).append(job_id)
    chunks = [(lane, part) for lane, members in lanes.items() for part in batches(members, inspect.CHUNK)]
    answers = yield [inspect.status(lane, part) for lane, part in chunks]
    known: dict[str, JobResult[Any]] = {}
    for (_, part), answer in zip(chunks, answers, strict=True):
        now, found = value([answer])
        for job_id, one in zip(part, found, strict=True):
            with suppress(JobNotFound):
                known[job_id] = result_of(job_id, one, now, limits=space.limits)
    return [known.get(job_id) for job_id in ids]


def listen(space: Space, job_id: str) -> Verb[None]:
    """Leave the mark without which a lane's events are not published; it lasts a minute."""
    value((yield (control.listen(space.keys.lane_of(job_id)),)))


def cancel(space: Space, job_id: str, by: str | None) -> Verb[bool]:
    """End a waiting job, or ask a running one to stop.

    Raises:
        JobNotFound: It is not known.
    """
    lane = space.keys.lane_of(job_id)
    letter = value((yield (control.cancel(space.keys, lane, (job_id,), by=by, ttl_ms=TOMBSTONE_MS),)))
    if letter == "u":
        raise JobNotFound(job_id)
    return bool(letter != "f")


def cancel_many(space: Space, ids: Iterable[str], by: str | None) -> Verb[int]:
    """The same for many, in bounded batches; how many were cancelled or asked to stop."""
    lanes: dict[Lane, list[str]] = {}
    for job_id in ids:
        lanes.setdefault(space.keys.lane_of(job_id), []).append(job_id)
    count = 0
    for lane, members in lanes.items():
        for part in batches(members, control.CHUNK):
            letters = value((yield (control.cancel(space.keys, lane, part, by=by, ttl_ms=TOMBSTONE_MS),)))
            count += sum(letter in "cr" for letter in letters)
    return count


def purge(space: Space, job_id: str) -> Verb[bool]:
    """Let a dead letter go for good; False when there was none."""
    lane = space.keys.lane_of(job_id)
    return bool(value((yield (control.purge(lane, (job_id,)),))))
