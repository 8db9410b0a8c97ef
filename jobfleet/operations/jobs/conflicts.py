"""What follows when another job holds the unique key of one that was enqueued.

``existing`` and ``raise`` are answered at once. ``replace`` and ``debounce`` write to keys that bear the
holder's id, which only the first trip tells: a script writes to no key that its call does not name. Meanwhile
the holder may have started, or be another; then the enqueue begins anew.
"""

from __future__ import annotations

from collections.abc import Generator, Sequence
from typing import Any

from jobfleet.errors import DuplicateJob, JobfleetError, ScriptContractError
from jobfleet.model import JobStatus, Receipt
from jobfleet.model.unique import DEBOUNCE, RAISE, REPLACE
from jobfleet.operations.jobs.prepare import Submission
from jobfleet.operations.jobs.uniqueness import Uniqueness
from jobfleet.store.call import Call
from jobfleet.store.calls.enqueue import debounce, enqueue, replace
from jobfleet.store.keys import Lane
from jobfleet.store.records import Holder
from jobfleet.store.retention import TOMBSTONE_MS

Conflict = tuple[Submission, Holder]
Calls = Sequence[Call[Any]]

ATTEMPTS = 10
"""How often an enqueue begins anew; after so many replacements by others, at one moment, theirs stands."""


def settle_one(sent: Submission, holder: Holder) -> Generator[Calls, list[Any], Receipt]:
    """Settle a conflict.

    Raises:
        DuplicateJob: The job asked for it.
    """
    (receipt,) = yield from settle([(sent, holder)])
    if receipt.error is not None:
        raise receipt.error
    return receipt


def settle(conflicts: Sequence[Conflict]) -> Generator[Calls, list[Any], list[Receipt]]:
    """Settle conflicts, in order; a receipt each, with its error where there is one."""
    receipts: dict[int, Receipt] = {}
    left = dict(enumerate(conflicts))
    for attempt in range(ATTEMPTS + 1):
        _answer(left, receipts, all_of_them=attempt == ATTEMPTS)
        if not left:
            break
        answers = yield _displacing(left)
        for place, said in zip(list(left), answers, strict=True):
            _take(left, receipts, place, _displaced(*left[place], said))
        if left:
            answers = yield [enqueue(sent.lane, (sent.entry,)) for sent, _ in left.values()]
            for place, said in zip(list(left), answers, strict=True):
                _take(left, receipts, place, _enqueued(left[place][0], said))
    return [receipts[place] for place in range(len(conflicts))]


def _answer(left: dict[int, Conflict], receipts: dict[int, Receipt], *, all_of_them: bool) -> None:
    """Answer the conflicts in which the holder stands."""
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
    """What a producer is told of a holder that stands."""
    error = DuplicateJob(holder.id) if rule.on_conflict == RAISE else None
    return Receipt(id=holder.id, created=False, status=JobStatus(holder.status), error=error)


def _displacing(left: dict[int, Conflict]) -> list[Call[Any]]:
    """The calls that displace holders; of one key, each job meets the one before it."""
    stands: dict[tuple[Lane, str], str] = {}
    calls: list[Call[Any]] = []
    for place, (sent, seen) in left.items():
        rule = _rule(sent)
        holder = seen._replace(id=stands.get((sent.lane, rule.key), seen.id))
        left[place] = (sent, holder)
        if rule.on_conflict == REPLACE:
            stands[sent.lane, rule.key] = sent.entry.id
            calls.append(replace(sent.lane, sent.entry, key=rule.key, holder=holder.id, ttl_ms=TOMBSTONE_MS))
        else:
            calls.append(debounce(sent.lane, sent.entry, key=rule.key, holder=holder.id, longest_us=rule.longest_us))
    return calls


def _displaced(sent: Submission, holder: Holder, said: Any) -> Receipt | None:
    """What came of it; nothing when the holder has changed."""
    match said:
        case JobfleetError():
            return Receipt(id=sent.entry.id, created=False, status=sent.status, error=said)
        case "replaced" | "exists":
            return Receipt(id=sent.entry.id, created=said == "replaced", status=sent.status)
        case ("debounced", is_ahead):
            return Receipt(id=holder.id, created=False, status=JobStatus.SCHEDULED if is_ahead else JobStatus.QUEUED)
        case _:
            return None


def _enqueued(sent: Submission, said: Any) -> Receipt | Holder:
    if isinstance(said, JobfleetError):
        return Receipt(id=sent.entry.id, created=False, status=sent.status, error=said)
    if isinstance(said[0], Holder):
        return said[0]
    return Receipt(id=sent.entry.id, created=bool(said[0]), status=sent.status)


def _take(left: dict[int, Conflict], receipts: dict[int, Receipt], place: int, came: Receipt | Holder | None) -> None:
    """Keep what came of a conflict: it is settled, or has another holder, or is to begin anew."""
    if isinstance(came, Receipt):
        receipts[place] = came
        del left[place]
    elif came is not None:
        left[place] = (left[place][0], came)


def _rule(sent: Submission) -> Uniqueness:
    if sent.unique is None:
        raise ScriptContractError(f"enqueue: {sent.entry.id} has no unique key, and yet another job holds it.")
    return sent.unique
