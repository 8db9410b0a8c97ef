"""Settle the conflict when another job holds the unique key of a job that was enqueued.

``existing`` and ``raise`` are answered at once. ``replace`` and ``debounce`` write to keys that contain the id of the
holder. Only the first trip returns this id, and a script writes only to keys that its call names, so a second trip
follows. The holder may have started or changed in between; then the enqueue starts again.
"""

from __future__ import annotations

from collections.abc import Generator, Sequence
from typing import Any, NamedTuple

from jobfleet.errors import DuplicateJob, JobfleetError, ScriptContractError
from jobfleet.model import JobStatus, Receipt
from jobfleet.model.templates import DEBOUNCE, RAISE, REPLACE
from jobfleet.operations.jobs.prepare import Submission
from jobfleet.operations.jobs.uniqueness import Uniqueness
from jobfleet.store.call import Call
from jobfleet.store.calls.enqueue import debounce, enqueue, replace
from jobfleet.store.keys import TOMBSTONE_MS, Lane
from jobfleet.store.records import Holder


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
