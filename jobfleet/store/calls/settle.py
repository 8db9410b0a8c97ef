"""settle: complete, retry, fail, release, wait, park, withhold, expire and move."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial
from typing import TYPE_CHECKING, Any, Literal, NamedTuple, cast

from jobfleet.store.call import Argument, Call, Reply
from jobfleet.store.keys import Lane
from jobfleet.store.records import Settled
from jobfleet.store.script import load

if TYPE_CHECKING:
    from jobfleet.codec.seals import Seals

CHUNK = 50
BESIDE = 64 * 1024
"""Maximum size of a parent's ending that is copied to a dependant; a larger one is read from its own key."""
WAIT_END = "wait"
"""What the end of a wait is sealed as."""

TOKEN_VALID = "token"
STILL_EXPIRED = "expired"
STILL_WAITING = "waiting"
DOOMED = "doomed"
"""The job waits behind a failed head of its sequence that fails the rest."""

# Every kind of item begins with the same four fields: the name of the transition on the wire, the condition for it, the
# job, and the token of its run. The docstrings describe the other fields. A NamedTuple inherits no fields, so each kind
# lists all of them; and items are tuples because the script reads their fields in order, and `zip` makes the columns of
# the completions on the hot path.


class Completion(NamedTuple):
    """Running → completed.

    Attributes:
        record: The sealed record of the run.
        ttl_ms: How long the result is kept.
        duration_us: How long the run took.
    """

    verb: Literal["complete"]
    guard: str
    job_id: str
    token: int
    record: bytes
    ttl_ms: int
    duration_us: int


class BriefCompletion(NamedTuple):
    """Running → completed, with a record that is kept for a shorter time than the id is remembered.

    Attributes:
        record: The sealed record of the run.
        ttl_ms: How long the id is remembered.
        duration_us: How long the run took.
        value_ttl_ms: How long the record is kept; 0 does not store it.
        proof: The seal of the line that stays without the record; empty without keys.
    """

    verb: Literal["complete_briefly"]
    guard: str
    job_id: str
    token: int
    record: bytes
    ttl_ms: int
    duration_us: int
    value_ttl_ms: int
    proof: str = ""


class Failure(NamedTuple):
    """Running → failed, with a dead letter. It has the fields of a `Completion`, and two more.

    Attributes:
        reason: Why the job failed.
        tries: The counts of its runs.
    """

    verb: Literal["fail"]
    guard: str
    job_id: str
    token: int
    record: bytes
    ttl_ms: int
    duration_us: int
    reason: str
    tries: str


class Requeue(NamedTuple):
    """Running → retrying (retry, park), queued or scheduled (release).

    Attributes:
        delay_us: The delay until the job is due.
        tries: The counts of its runs; empty for no change.
    """

    verb: Literal["retry", "release", "park"]
    guard: str
    job_id: str
    token: int
    delay_us: int
    tries: str


class Wait(NamedTuple):
    """Running → scheduled until a time or a signal.

    Attributes:
        key: The key of the wait within the job.
        name: The signal; empty for none.
        delay_us: The delay until the wait ends, if this is its first run.
        ttl_ms: How long the steps are kept after the end of the wait.
        till: In a fleet with keys, the end in µs by the clock of Redis, as the child knows it; 0: the script decides.
        seal: The seal of the end; empty without keys.
        refused: The stored signal that the run could not open; empty for none. It does not end the wait.
        again_us: When to look at it again, in µs from now; 0 deletes it.
    """

    verb: Literal["wait"]
    guard: str
    job_id: str
    token: int
    key: str
    name: str
    delay_us: int
    ttl_ms: int
    till: int = 0
    seal: bytes = b""
    refused: bytes = b""
    again_us: int = 0


class Withholding(NamedTuple):
    """Running → queued, without a start, and not claimable while the function is paused.

    Attributes:
        due: When the job was due, in µs.
        function: The paused function.
    """

    verb: Literal["withhold"]
    guard: str
    job_id: str
    token: int
    due: int
    function: str


class Expiry(NamedTuple):
    """Running, or waiting under the guard `STILL_WAITING`, → expired.

    Attributes:
        token: The token of the run; 0 for a waiting job.
        ttl_ms: How long the result is kept.
    """

    verb: Literal["expire"]
    guard: str
    job_id: str
    token: int
    ttl_ms: int


class Move(NamedTuple):
    """Running → cancelled, because the job continues under another id.

    Attributes:
        ttl_ms: How long the result is kept.
        to: The id of the new job.
    """

    verb: Literal["move"]
    guard: str
    job_id: str
    token: int
    ttl_ms: int
    to: str


Item = Completion | BriefCompletion | Failure | Requeue | Wait | Withholding | Expiry | Move
"""One run to settle. The fields are in the order in which the script reads them."""

PAST = {
    "complete": "completed", "complete_briefly": "completed", "fail": "failed", "retry": "retried",
    "release": "released", "wait": "released", "park": "parked", "expire": "expired", "move": "moved",
    "withhold": "withheld",
}  # fmt: skip
"""The past participle of each verb, for logs and metrics."""
COMPLETED = frozenset(("complete", "complete_briefly"))
"""The verbs after which the job is completed."""
REQUEUED = frozenset(("retry", "release", "wait", "park", "withhold"))
"""The verbs after which the job waits again."""

_new_completion = cast("Callable[[tuple[Any, ...]], Completion]", partial(tuple.__new__, Completion))
"""Make a completion from a row without a further Python frame: this is on the path of each job."""


def complete(job_id: str, token: int, *, record: bytes, ttl_ms: int, duration_us: int) -> Completion:
    """Complete a running job, with the sealed record of the run."""
    return _new_completion(("complete", TOKEN_VALID, job_id, token, record, ttl_ms, duration_us))


def complete_briefly(
    job_id: str, token: int, *, record: bytes, ttl_ms: int, duration_us: int, value_ttl_ms: int
) -> BriefCompletion:
    """Complete a running job, whose record is kept for `value_ttl_ms` and whose id for `ttl_ms`."""
    return BriefCompletion("complete_briefly", TOKEN_VALID, job_id, token, record, ttl_ms, duration_us, value_ttl_ms)


def retry(job_id: str, token: int, *, delay_us: int, tries: str, guard: str = TOKEN_VALID) -> Requeue:
    """Retry a running job after `delay_us`."""
    return Requeue("retry", guard, job_id, token, delay_us, tries)


def fail(
    job_id: str,
    token: int,
    *,
    record: bytes,
    ttl_ms: int,
    duration_us: int,
    reason: str,
    tries: str,
    guard: str = TOKEN_VALID,
) -> Failure:
    """Fail a running job, with the sealed record of the run."""
    return Failure("fail", guard, job_id, token, record, ttl_ms, duration_us, reason, tries)


def release(job_id: str, token: int, *, delay_us: int = 0, tries: str = "", guard: str = TOKEN_VALID) -> Requeue:
    """Give a running job back. Without a delay it keeps its place. Empty `tries` change nothing."""
    return Requeue("release", guard, job_id, token, delay_us, tries)


def wait(
    job_id: str,
    token: int,
    *,
    key: str,
    name: str,
    delay_us: int,
    ttl_ms: int,
    till: int = 0,
    refused: bytes = b"",
    again_us: int = 0,
) -> Wait:
    """Put a running job back until the end of a wait, or the signal `name`; see `Wait`."""
    return Wait(
        "wait", TOKEN_VALID, job_id, token, key, name, delay_us, ttl_ms, till, refused=refused, again_us=again_us
    )


def park(job_id: str, token: int, *, delay_us: int, tries: str) -> Requeue:
    """Park a running job until a worker can run it."""
    return Requeue("park", TOKEN_VALID, job_id, token, delay_us, tries)


def expire(job_id: str, token: int, *, ttl_ms: int, guard: str = TOKEN_VALID) -> Expiry:
    """Expire a running job, or a waiting job under the guard `STILL_WAITING`."""
    return Expiry("expire", guard, job_id, token, ttl_ms)


def move(job_id: str, token: int, *, to: str, ttl_ms: int) -> Move:
    """Cancel a running job that continues under the id `to`."""
    return Move("move", TOKEN_VALID, job_id, token, ttl_ms, to)


def withhold(job_id: str, token: int, *, due: int, function: str) -> Withholding:
    """Put a claimed job back, without a start, while its function is paused."""
    return Withholding("withhold", TOKEN_VALID, job_id, token, due, function)


def settle(lane: Lane, items: Sequence[Item], *, child: str = "", nonce: int = 0, chunk: int = 1) -> Call[Settled]:
    """Settle at most 50 runs.

    Args:
        lane: Their lane.
        items: The transition of each run.
        child: The child that ran them. A repeated trip of this child is answered as the first one was. Empty for
            supervisors and reapers.
        nonce: Grows with each trip of the child in the lane.
        chunk: The number of this call within the trip, from 1.
    """
    if lane.seals is not None:
        items = [_sealed(lane.seals, item) for item in items]
    alike, order = _parted(items)
    columns: list[Any] = [*zip(*[items[place] for place in order[:alike]], strict=True)] or [()] * 7
    _, _, ids, tokens, records, kept_ms, durations = columns
    job, result = lane.job_prefix, lane.result_prefix
    keys = [*_fixed(lane), lane.sent(child), *[job + job_id for job_id in ids], *[result + job_id for job_id in ids]]
    ttl_ms = kept_ms[0] if alike else 0
    args: list[Argument] = [
        lane.tag, child, nonce, chunk, alike, ttl_ms, sum(durations), _lines(ids, durations), _row(tokens), *records,
    ]  # fmt: skip
    if alike == len(items):
        return Call(load("settle"), tuple(keys), tuple(args), _settled)
    for place in order[alike:]:
        item = items[place]
        job_id = item.job_id
        keys += (
            job + job_id, result + job_id, lane.value(job_id), lane.steps(job_id), lane.log(job_id),
            lane.chunks(job_id), lane.parents(job_id),
        )  # fmt: skip
        args += item
    return Call(load("settle"), tuple(keys), tuple(args), partial(_settled, order=order))


def _sealed(seals: Seals, item: Item) -> Item:
    match item:
        case Completion():
            item = item._replace(record=seals.record(item.job_id, item.record, item.token, "completed"))
            if len(item.record) <= BESIDE:
                return item
            # Dependants read the record later, when it may be gone. They are given the proof.
            proof = seals.proof(item.job_id, item.record, item.token)
            return BriefCompletion("complete_briefly", *item[1:], item.ttl_ms, proof)
        case BriefCompletion():
            record = seals.record(item.job_id, item.record, item.token, "completed")
            return item._replace(record=record, proof=seals.proof(item.job_id, item.record, item.token))
        case Failure():
            return item._replace(record=seals.record(item.job_id, item.record, item.token, "failed"))
        case Wait() if item.till and seals.sealer.writes:
            return item._replace(seal=seals.value(b"%d" % item.till, WAIT_END, item.job_id, item.key))
    return item


def _parted(items: Sequence[Item]) -> tuple[int, Sequence[int]]:
    """The number of completions that can be sent in columns, and the places of all items, those completions first."""
    ttl_ms = next((item.ttl_ms for item in items if item.verb == "complete"), None)
    alike = [place for place, item in enumerate(items) if item.verb == "complete" and item.ttl_ms == ttl_ms]
    if len({item.job_id for item in items}) < len(items):
        alike = []
    elif len(alike) == len(items):
        return len(items), alike
    chosen = set(alike)
    return len(alike), [*alike, *[place for place in range(len(items)) if place not in chosen]]


def _lines(ids: Sequence[str], durations: Sequence[int]) -> str:
    """The lines of the list of finished jobs. They leave out the prefix that all ids of the lane share."""
    if not ids:
        return ""
    begin = len(ids[0]) - len(ids[0].split(".", 2)[2])
    return "\n".join([f"{job_id[begin:]} co {duration}" for job_id, duration in zip(ids, durations, strict=True)])


def _row(tokens: Sequence[int]) -> str:
    """The tokens as one text of columns with equal width, so that the script can cut out each by its number."""
    width = len(str(max(tokens, default=0)))
    return " ".join([f"{token:<{width}}" for token in tokens])


def _fixed(lane: Lane) -> tuple[str, ...]:
    return (
        *lane.ready, lane.lease, lane.runs, lane.tries, lane.meta, lane.unique, lane.expiry, lane.done, lane.dlq,
        lane.dead, lane.totals, lane.wake, lane.watched, lane.outbox, lane.journal, lane.grouped, lane.ring, lane.gdue,
        lane.held, lane.rates,
    )  # fmt: skip


def _settled(reply: Reply, order: Sequence[int] = ()) -> Settled:
    if reply[0] != b"settled":
        return Settled(is_stale=True)
    letters = reply[3].decode()
    if order:
        letters = "".join([letter for _, letter in sorted(zip(order, letters, strict=True))])
    return Settled(is_stale=False, watched=reply[2], letters=letters)
