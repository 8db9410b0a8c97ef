"""Enqueue one plain job: read its function and queue if they are not known, prepare it, send it, settle a conflict."""

from __future__ import annotations

from collections.abc import Generator, Sequence
from typing import Any, NamedTuple

from jobfleet.clock import monotonic, span
from jobfleet.errors import (
    DuplicateJob,
    DurabilityUnavailable,
    EncodingError,
    InvalidJob,
    JobfleetError,
    ScriptContractError,
    StoreUnavailable,
    warn,
)
from jobfleet.functions.callables import BUILT_IN, CLEANUP, UNDO
from jobfleet.model import Job, JobStatus, Receipt
from jobfleet.model.names import similar_function
from jobfleet.model.templates import DEBOUNCE, RAISE, REPLACE
from jobfleet.operations.durability import check_level, confirmed_receipt, durably
from jobfleet.operations.fleet_context import REMEMBERED, FleetContext, Published
from jobfleet.operations.jobs.prepare import (
    Resolved,
    Submission,
    Uniqueness,
    asks_for_callbacks,
    queue_of,
    quick,
    receipt,
    resolve_in,
    submission_in,
)
from jobfleet.operations.lanes import open_queue
from jobfleet.operations.operation import EachLane, Operation, value
from jobfleet.operations.payloads import stow
from jobfleet.store.call import Call
from jobfleet.store.calls.enqueue import debounce, enqueue, replace
from jobfleet.store.keys import TOMBSTONE_MS, Lane
from jobfleet.store.records import FleetSeen, Holder


def prepare(
    context: FleetContext, job: Job, *, is_recurring: bool = False, is_undo: bool = False
) -> Operation[Submission]:
    """Prepare a job; read its function and its queue from Redis if this process does not know them.

    Args:
        context: The context of the fleet.
        job: The job.
        is_recurring: Whether it is the template of a recurring job.
        is_undo: Whether it is the job that undoes the steps of a run.

    Raises:
        InvalidJob: An option is wrong, the job has `cron_expression` or `tz`, or its function is one of jobfleet itself
            that is not enqueued so.
        EncodingError: An argument, or metadata, cannot travel.
        DurabilityUnavailable: The server cannot provide the job's durability.
        PayloadUnavailable: The payload store cannot be reached.
    """
    if job.cron_expression is not None:
        raise InvalidJob("cron_expression makes a recurring job: enqueue it by itself.", field="cron_expression")
    check_times(job)
    sent = quick(context, job, monotonic())
    if sent is not None:
        return (yield from _placed(context, sent, is_recurring=is_recurring))
    if is_recurring and asks_for_callbacks(context, job):
        raise InvalidJob(
            "on_success and on_failure are not for a recurring job; use a hook or a rule of notifications.",
            field="cron_expression",
        )
    function = resolve_in(context, job)
    if function is None:
        function = yield from _look_up(context, job, is_recurring=is_recurring)
    elif function.name in BUILT_IN:
        _check_built_in(function.name, is_recurring=is_recurring, is_undo=is_undo)
    elif not function.is_registered and function.name not in context.unregistered:
        yield from _check_unregistered(context, function.name)
    queue = queue_of(job, function)
    if not context.has_queue(queue):
        yield from open_queue(context, queue, holds_jobs=not is_recurring)
    made = submission_in(context, job, function)
    if made.level and not is_recurring:  # each fire has its own confirmation
        made = yield from _checked(context, made)
    return (yield from _placed(context, made, is_recurring=is_recurring))


def _check_built_in(name: str, *, is_recurring: bool, is_undo: bool) -> None:
    """Refuse what no worker would run: see `jobfleet.model.audit`."""
    if name == UNDO and not is_undo:
        raise InvalidJob(f"{UNDO!r} is enqueued by a run whose steps have undo=, not by a producer.", field="function")
    if name == CLEANUP and not is_recurring:
        raise InvalidJob(
            f"{CLEANUP!r} runs only as a recurring job: give cron_expression, and enqueue an extra run with "
            "'jobfleet cron run NAME'. To delete results now, call get_job_manager().cleanup_old_results(days).",
            field="function",
        )


def _checked(context: FleetContext, sent: Submission) -> Operation[Submission]:
    if context.ignores_levels:
        return sent._replace(level="")
    try:
        yield from check_level(context, sent.level, sent.lane)
    except DurabilityUnavailable:
        if not context.is_of_run:
            raise
        return sent._replace(level="")
    return sent


def _placed(context: FleetContext, sent: Submission, *, is_recurring: bool) -> Operation[Submission]:
    if len(sent.entry.envelope) <= context.inline_max:
        return sent
    if is_recurring:  # its jobs share the envelope, so no single job owns a payload
        return _checked_inline(context, sent)
    return (yield from stored(context, sent))


def stored(context: FleetContext, sent: Submission, *, is_away: bool = False) -> Operation[Submission]:
    """Put the arguments of a prepared job into the payload store, if they are large and not there yet; see `stow`.

    Raises:
        PayloadUnavailable: The store cannot be reached.
    """
    entry = sent.entry
    envelope = yield from stow(context, entry.id, entry.envelope, is_away=is_away)
    return sent._replace(entry=entry._replace(envelope=envelope))


def _checked_inline(context: FleetContext, sent: Submission) -> Submission:
    size, most = len(sent.entry.envelope), context.config.max_payload
    if size > most:
        raise EncodingError(
            f"args: {size:,} bytes, and the arguments of a recurring job stay in Redis, where the limit is {most:,}; "
            "let its job read them itself, or raise the setting max_payload.",
            field="args",
        )
    return sent


def check_times(job: Job) -> None:
    """Refuse a time zone without a schedule.

    Raises:
        InvalidJob: The job has `tz`, but no `cron_expression`.
    """
    if job.tz is not None and job.cron_expression is None:
        raise InvalidJob("tz is the time zone of cron_expression, which is not given.", field="tz")


def published(context: FleetContext) -> Operation[FleetSeen]:
    """Read the published functions of the fleet, if that was not done within the last `REMEMBERED` seconds."""
    last = context.published
    if last.fleet is not None and monotonic() - last.read_at <= REMEMBERED:
        return last.fleet
    (found,) = yield EachLane((context.fleet_call(),))
    if isinstance(found, StoreUnavailable):  # the node of the fleet's keys is away from the cluster
        found = last.fleet or value((yield (context.fleet_call(),)))
    fleet: FleetSeen = value([found])
    context.published = Published(monotonic(), fleet)
    return fleet


def _check_unregistered(context: FleetContext, name: str) -> Operation[None]:
    """Warn once if live workers exist and none of them runs a plain function."""
    from jobfleet.operations.workers import runs_undecorated, workers_of

    context.unregistered.add(name)
    if context.registry.workers:
        return
    seen = yield from published(context)
    alive = [worker for worker in workers_of(context, seen) if not worker.is_gone]
    if alive and name not in seen.functions and not runs_undecorated(alive, name):
        warn(
            f"No live worker runs {name!r}, which is not registered: decorate it with @job or call "
            f"register_job_function({name!r}, …); a worker inside this program runs it as it is, as do workers with "
            "allow_undecorated = true."
        )


def _look_up(context: FleetContext, job: Job, *, is_recurring: bool) -> Operation[Resolved]:
    seen = yield from published(context)
    function = resolve_in(context, job)
    if function is not None:
        return function
    name, hints = str(job.function), context.published.hints
    if name not in hints:
        hints[name] = _hint(context, seen, name)
    if hints[name]:
        grace = span(context.config.unknown_grace)
        place = "" if job.queue else "goes to queue 'default' (give queue if the function has another one) and "
        effect = f"The job {place}will be parked; unless one does within {grace}, it goes to the dead letters."
        if is_recurring:
            effect = f"Until one does, each fire makes a job that {place}is parked; after {grace} it is a dead letter."
        warn(f"{hints[name]} {effect} The namespace of this process is {context.config.namespace!r}.")
    return Resolved(name, {})


def _hint(context: FleetContext, seen: FleetSeen, name: str) -> str:
    """That no worker has published a function, and what was probably meant; empty if a worker runs it all the same."""
    from jobfleet.operations.workers import runs_undecorated, workers_of

    if runs_undecorated(workers_of(context, seen), name):
        return ""
    meant = similar_function(name, seen.functions)
    return f"No worker has published {name!r}" + (f"; did you mean {meant!r}?" if meant else ".")


def submit(context: FleetContext, job: Job) -> Operation[Receipt]:
    """Enqueue one job.

    Raises:
        DuplicateJob: Another job holds its unique key, and the job has ``on_conflict="raise"``.
        InvalidJob: An option is wrong.
        EncodingError: An argument, or metadata, cannot travel.
    """
    sent = yield from prepare(context, job)
    return (yield from send(context, sent))


def send(context: FleetContext, sent: Submission) -> Operation[Receipt]:
    """Enqueue a prepared job, and let the server confirm its level. Large arguments go to the payload store first.

    Raises:
        DuplicateJob: Another job holds its unique key, and the job has ``on_conflict="raise"``.
        DurabilityUncertain: The level was not reached.
        PayloadUnavailable: The payload store cannot be reached.
    """
    if len(sent.entry.envelope) > context.inline_max:
        sent = yield from stored(context, sent)
    if not sent.level:
        return (yield from _send(sent))
    done = yield from durably(context, sent.lane, (sent.level,), _send(sent))
    return confirmed_receipt(context, sent.level, done)


def settle_durably(context: FleetContext, sent: Submission, holder: Holder) -> Operation[Receipt]:
    """Settle the conflict of a prepared job with the holder of its unique key, and let the server confirm its level.

    Raises:
        DuplicateJob: The job has ``on_conflict="raise"``.
        DurabilityUncertain: The level was not reached.
    """
    done = yield from durably(context, sent.lane, (sent.level,), settle_one(sent, holder))
    return confirmed_receipt(context, sent.level, done)


def _send(sent: Submission) -> Operation[Receipt]:
    answer = value((yield (enqueue(sent.lane, (sent.entry,)),)))[0]
    if isinstance(answer, Holder):
        return (yield from settle_one(sent, answer))
    return receipt(sent, created=answer)


# Settle the conflict when another job holds the unique key of a job that was enqueued.
#
# ``existing`` and ``raise`` are answered at once. ``replace`` and ``debounce`` write to keys that contain the id of
# the holder. Only the first trip returns this id, and a script writes only to keys that its call names, so a second
# trip follows. The holder may have started or changed in between; then the enqueue starts again.


class Conflict(NamedTuple):
    """A job that was not enqueued, and the job that holds its unique key.

    Attributes:
        sent: The job.
        holder: The other job.
    """

    sent: Submission
    holder: Holder


Calls = Sequence[Call[Any]]

ATTEMPTS = 10
"""How often an enqueue starts again. After so many replacements by other producers, the present holder is kept."""


def settle_one(sent: Submission, holder: Holder) -> Generator[Calls, list[Any], Receipt]:
    """Settle one conflict; return the receipt of the job.

    Raises:
        DuplicateJob: The job has ``on_conflict="raise"``, or it cannot debounce the holder.
    """
    (receipt,) = yield from settle([Conflict(sent, holder)])
    if receipt.error is not None:
        raise receipt.error
    return receipt


def settle(conflicts: Sequence[Conflict]) -> Generator[Calls, list[Any], list[Receipt]]:
    """Settle conflicts in order; return one receipt per conflict, with the error of a refused job."""
    receipts: dict[int, Receipt] = {}
    left = dict(enumerate(conflicts))
    for attempt in range(ATTEMPTS + 1):
        _answer(left, receipts, all_of_them=attempt == ATTEMPTS)
        if not left:
            break
        answers = yield _displacing(left)
        for place, reply in zip(list(left), answers, strict=True):
            _take(left, receipts, place, _displaced(*left[place], reply))
        if left:
            answers = yield [enqueue(sent.lane, (sent.entry,)) for sent, _ in left.values()]
            for place, reply in zip(list(left), answers, strict=True):
                _take(left, receipts, place, _enqueued(left[place].sent, reply))
    return [receipts[place] for place in range(len(conflicts))]


def _answer(left: dict[int, Conflict], receipts: dict[int, Receipt], *, all_of_them: bool) -> None:
    """Answer the conflicts in which the holder keeps the key."""
    for place, (sent, holder) in list(left.items()):
        rule = _rule(sent)
        if all_of_them or holder.has_started or rule.on_conflict not in (REPLACE, DEBOUNCE):
            receipts[place] = answer(rule, holder)
            del left[place]
        elif rule.on_conflict == DEBOUNCE and holder.status == JobStatus.BLOCKED:
            error = DuplicateJob(
                holder.id, f"{holder.id} holds the unique key and waits for other jobs, so it cannot be debounced."
            )
            receipts[place] = Receipt(id=holder.id, created=False, status=JobStatus.BLOCKED, error=error)
            del left[place]


def answer(rule: Uniqueness, holder: Holder) -> Receipt:
    """The receipt of a job whose holder keeps the key."""
    error = DuplicateJob(holder.id) if rule.on_conflict == RAISE else None
    return Receipt(id=holder.id, created=False, status=JobStatus(holder.status), error=error)


def _displacing(left: dict[int, Conflict]) -> list[Call[Any]]:
    """The calls that displace the holders; each job of a key meets the job before it."""
    holders: dict[tuple[Lane, str], str] = {}
    calls: list[Call[Any]] = []
    for place, (sent, seen) in left.items():
        rule = _rule(sent)
        holder = seen._replace(id=holders.get((sent.lane, rule.key), seen.id))
        left[place] = Conflict(sent, holder)
        if rule.on_conflict == REPLACE:
            holders[sent.lane, rule.key] = sent.entry.id
            calls.append(replace(sent.lane, sent.entry, key=rule.key, holder=holder.id, ttl_ms=TOMBSTONE_MS))
        else:
            calls.append(debounce(sent.lane, sent.entry, key=rule.key, holder=holder.id, longest_us=rule.longest_us))
    return calls


def _displaced(sent: Submission, holder: Holder, reply: Any) -> Receipt | None:
    """The receipt of a displacing job; None when the holder has changed."""
    match reply:
        case JobfleetError():
            return Receipt(id=sent.entry.id, created=False, status=sent.status, error=reply)
        case "replaced" | "exists":
            return Receipt(id=sent.entry.id, created=reply == "replaced", status=sent.status)
        case ("debounced", is_ahead):
            return Receipt(id=holder.id, created=False, status=JobStatus.SCHEDULED if is_ahead else JobStatus.QUEUED)
        case _:
            return None


def _enqueued(sent: Submission, reply: Any) -> Receipt | Holder:
    if isinstance(reply, JobfleetError):
        return Receipt(id=sent.entry.id, created=False, status=sent.status, error=reply)
    if isinstance(reply[0], Holder):
        return reply[0]
    return Receipt(id=sent.entry.id, created=bool(reply[0]), status=sent.status)


def _take(left: dict[int, Conflict], receipts: dict[int, Receipt], place: int, came: Receipt | Holder | None) -> None:
    """Record the result of a conflict: it is settled, it has another holder, or the enqueue starts again."""
    if isinstance(came, Receipt):
        receipts[place] = came
        del left[place]
    elif came is not None:
        left[place] = left[place]._replace(holder=came)


def _rule(sent: Submission) -> Uniqueness:
    if sent.unique is None:
        raise ScriptContractError(f"enqueue: {sent.entry.id} has no unique key, and yet another job holds it.")
    return sent.unique
