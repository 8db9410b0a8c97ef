"""Enqueue one plain job: look up what is not known of its function and queue, write it down, send it."""

from __future__ import annotations

import difflib
import warnings

from jobfleet.clock import monotonic, span
from jobfleet.errors import InvalidJob
from jobfleet.model import Job, Receipt
from jobfleet.operations.fleet_context import REMEMBERED, Space
from jobfleet.operations.jobs import conflicts
from jobfleet.operations.jobs.prepare import Resolved, Submission, queue_of, quick, resolve_in, submission_in
from jobfleet.operations.lanes import open_queue
from jobfleet.operations.operation import Verb, value
from jobfleet.store.calls.enqueue import enqueue
from jobfleet.store.records import FleetSeen, Holder


def prepare(space: Space, job: Job) -> Verb[Submission]:
    """Write a job down, after looking up what is not known of its function and queue."""
    if job.cron_expression is not None:
        raise InvalidJob("cron_expression makes a recurring job: enqueue it by itself.", field="cron_expression")
    if job.tz is not None:
        raise InvalidJob("tz is the time zone of cron_expression, which is not given.", field="tz")
    sent = quick(space, job, monotonic())
    if sent is not None:
        return sent
    function = resolve_in(space, job)
    if function is None:
        function = yield from _look_up(space, job)
    elif not function.is_registered and function.name not in space.unregistered:
        yield from _check_unregistered(space, function.name)
    queue = queue_of(job, function)
    if not space.has_queue(queue):
        yield from open_queue(space, queue)
    return submission_in(space, job, function)


def _published(space: Space) -> Verb[FleetSeen]:
    looked, seen = space.published
    if seen is None or monotonic() - looked > REMEMBERED:
        seen = value((yield (space.looking(),)))
        space.published = (monotonic(), seen)
    return seen


def _check_unregistered(space: Space, name: str) -> Verb[None]:
    """Warn, once, when live workers are there and none of them runs a plain function."""
    from jobfleet.operations.workers.info import workers_of

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
    function = resolve_in(space, job)
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


def submit(space: Space, job: Job) -> Verb[Receipt]:
    """Enqueue one job.

    Raises:
        DuplicateJob: Another job holds its unique key, and it asked to be told so.
    """
    sent = yield from prepare(space, job)
    answer = value((yield (enqueue(sent.lane, (sent.entry,)),)))[0]
    if isinstance(answer, Holder):
        return (yield from conflicts.settle_one(sent, answer))
    return receipt(sent, created=answer)
