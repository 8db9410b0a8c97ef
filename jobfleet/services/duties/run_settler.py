"""Settles on behalf of others: runs with an expired lease, runs of a dead child, and rows that cannot be read."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from jobfleet.codec import header_or_empty, seal_record
from jobfleet.codec.frames import DESCRIBED
from jobfleet.config import JobConfig
from jobfleet.errors import JobfleetError
from jobfleet.functions.manifest import read_function
from jobfleet.metrics.tally import Tally
from jobfleet.model import ErrorType
from jobfleet.outcome import Cancelled, Crashed, Interrupted, Outcome, Preempted, TimedOut, Witnessed
from jobfleet.retry.decision import Fail, Park, Policy, Release, Retry, decide, policy_of, with_header
from jobfleet.retry.tries import Begun, Tries, past_fields
from jobfleet.store.aio import AsyncStore
from jobfleet.store.call import Call, levels_in
from jobfleet.store.calls import settle
from jobfleet.store.calls.lease import CHUNK, REASON, letter_id, set_aside
from jobfleet.store.calls.settle import Item
from jobfleet.store.keys import Lane
from jobfleet.store.records import Doomed, Held, Settled
from jobfleet.store.rows import Spoiled, shown
from jobfleet.store.trip import only

if TYPE_CHECKING:
    from jobfleet.services.confirmations import Confirmations


log = logging.getLogger("jobfleet.reaper")

OutcomeOf = Callable[[Held], Outcome]
DOOMED_REASON = "sequence"
"""Why a job has failed that waited behind a failed head of its strict sequence."""
SHOWN = 3
"""The number of functions, and of ids, that a line about many runs names."""


class RunSettler:
    """Settles runs whose worker no longer can.

    It uses the same pure `decide` as the worker and settles with the token of the run. The policy comes from the job's
    header, then from the function's published record, then from the settings. The header is plain text, so no key is
    needed.

    Args:
        store: The connection to Redis.
        config: The settings, for the defaults.
        functions: Returns the published records by function; called for each use.
        tally: Counts the metrics.
        on_watched: Called with a lane in which a job with dependants ended.
    """

    def __init__(
        self,
        store: AsyncStore,
        config: JobConfig,
        *,
        functions: Callable[[], Mapping[str, bytes]],
        tally: Tally,
        on_watched: Callable[[Lane], None] = lambda _: None,
    ) -> None:
        self._store = store
        self._confirmations: Confirmations | None = None
        self._config = config
        self._functions = functions
        self._tally = tally
        self._on_watched = on_watched

    async def settle(
        self, lane: Lane, held: Iterable[Held], now_us: int, outcome_of: OutcomeOf, *, guard: str
    ) -> list[Held]:
        """Decide about runs and settle them; return the settled runs.

        Args:
            lane: The lane of the runs.
            held: The runs.
            now_us: Redis's time in µs.
            outcome_of: Returns the outcome of a run.
            guard: ``TOKEN_VALID`` if the caller knows that the run is over, ``STILL_EXPIRED`` for the reaper.
        """
        rows = list(held)
        settled: list[Held] = []
        for at in range(0, len(rows), settle.CHUNK):
            part = rows[at : at + settle.CHUNK]
            outcomes = [outcome_of(one) for one in part]
            items = [self._item(one, outcome, now_us, guard) for one, outcome in zip(part, outcomes, strict=True)]
            levels = levels_in([header_or_empty(one.envelope) for one in part])
            what = f"the end of a run of {part[0].id}"
            answer = await self._answered(lane, settle.settle(lane, items), levels, what)
            if answer.watched:
                self._on_watched(lane)
            for one, item, outcome, letter in zip(part, items, outcomes, answer.letters, strict=True):
                if letter in "sc":
                    settled.append(one)
                    self._tell(lane, item, outcome)
                    _note(one, item, outcome)
        return settled

    async def _answered(self, lane: Lane, call: Call[Settled], levels: Collection[str], what: str) -> Settled:
        """Run a call, and let the server confirm it if its jobs ask for that."""
        if not levels:
            return await self._store.run(call)
        if self._confirmations is None:
            from jobfleet.services.confirmations import Confirmations  # few processes have durable jobs

            self._confirmations = Confirmations(self._store, self._config, log)
        settled: Settled = only(await self._confirmations.run_many(lane, (call,), levels, what=what))
        return settled

    def _item(self, held: Held, outcome: Outcome, now_us: int, guard: str) -> Item:
        header = header_or_empty(held.envelope)
        tries, claimed = Tries.parse(held.tries), held.run.claimed
        # An interrupted run may have been claimed only; of any other, the board or the time says that its code began.
        begun = None if isinstance(outcome, Interrupted) else Begun(claimed, held.run.child)
        try:
            decision = decide(outcome, self._policy(header), tries, now_us, due_us=claimed, begun=begun)
        except (TypeError, ValueError, ArithmeticError):  # a foreign producer wrote invalid options: use the settings
            decision = decide(outcome, policy_of({}, self._config), tries, now_us, begun=begun)
        match decision:
            case Retry(delay_us, spent):
                return settle.retry(held.id, held.token, delay_us=delay_us, tries=spent.dump(), guard=guard)
            case Release(delay_us, changed):
                tries_text = changed.dump() if changed is not None else ""
                return settle.release(held.id, held.token, delay_us=delay_us, tries=tries_text, guard=guard)
            case Fail():
                return self._fail(held, header, decision, now_us, guard)
            case Park() | _:
                return settle.release(held.id, held.token, guard=guard)

    def _fail(self, held: Held, header: Mapping[str, Any], decision: Fail, now_us: int, guard: str) -> Item:
        duration, before = now_us - held.run.claimed, Tries.parse(held.tries)
        last = decision.tries.history[-1].split(" ", 2)[-1] if decision.tries.history else decision.reason
        record = seal_record(
            {
                **{name: header[name] for name in ("function", *DESCRIBED) if name in header},
                "error": last,
                "error_type": str(decision.error_type),
                "error_class": decision.reason,
                "started_at": held.run.claimed,
                "duration": duration,
                "worker": held.run.child,
                "attempt": before.attempt,
                "retry_count": before.failures,
                **past_fields(decision.tries, decision.tries.runs, held.meta),
            }
        )
        return settle.fail(
            held.id,
            held.token,
            record=record,
            ttl_ms=round(self._config.failed_result_ttl * 1000),
            duration_us=duration,
            reason=decision.reason,
            tries=decision.tries.dump(),
            guard=guard,
        )

    def _policy(self, header: Mapping[str, Any]) -> Policy:
        record = self._functions().get(str(header.get("function", "")))
        options = read_function(record) if record is not None else {}
        discards = (TimeoutError,) if options.get("discards_timeouts") else ()  # workers publish no other class
        return with_header(policy_of(options, self._config, discard_on=discards), header)

    def _tell(self, lane: Lane, item: Item, outcome: Outcome) -> None:
        """Count the outcome of a run like its worker would."""
        if item.verb == "fail":
            self._tally.count("jobs_dead_lettered_total", (lane.queue, item.reason))
        elif item.verb == "retry":
            reason = {Preempted: "preempted", TimedOut: "error"}.get(type(outcome), "crash")
            self._tally.count("jobs_retried_total", (lane.queue, reason))


async def fail_rest(store: AsyncStore, lane: Lane, doomed: Doomed, *, ttl_ms: int, tally: Tally) -> Settled:
    """Fail jobs that wait behind a failed head; each becomes a dead letter that names the head.

    Args:
        store: The connection to Redis.
        lane: The lane of the jobs.
        doomed: The jobs, as the tick of the lane has returned them.
        ttl_ms: How long their results are kept.
        tally: Counts the dead letters.
    """
    items = [_doomed_item(one, doomed, ttl_ms) for one in doomed.jobs]
    settled = await store.run(settle.settle(lane, items))
    count = settled.letters.count("s")
    if count:
        tally.count("jobs_dead_lettered_total", (lane.queue, DOOMED_REASON), count)
        log.error("sequence.failing lane=%s group=%s head=%s jobs=%d", lane.tag, doomed.group, doomed.head, count)
    return settled


def _doomed_item(one: tuple[str, bytes, str], doomed: Doomed, ttl_ms: int) -> settle.Failure:
    job_id, envelope, spent = one
    header, tries = header_or_empty(envelope), Tries.parse(spent)
    record = seal_record(
        {
            **{name: header[name] for name in ("function", *DESCRIBED) if name in header},
            "error": f"it waited behind {doomed.head} in the sequence {doomed.group!r}, which failed",
            "error_type": str(ErrorType.PERMANENT),
            "error_class": DOOMED_REASON,
            "attempt": tries.attempt - 1,  # that of its last run; 0 if it never ran
            "retry_count": tries.failures,
            **past_fields(tries, tries.runs),
        }
    )
    spent, guard = tries.dump(), settle.DOOMED
    return settle.fail(
        job_id, 0, record=record, ttl_ms=ttl_ms, duration_us=0, reason=DOOMED_REASON, tries=spent, guard=guard
    )


def _note(held: Held, item: Item, outcome: Outcome) -> None:
    """Log what a run led to: a charged job has a line of its own, others are in the line of the caller."""
    reason = outcome.reason if isinstance(outcome, Crashed | Witnessed) else "given back"
    if isinstance(outcome, Preempted):
        reason = "its lease expired"
    elif isinstance(outcome, TimedOut):
        reason = f"it did not end within {outcome.limit:g} s"
    elif isinstance(outcome, Cancelled):
        reason = f"cancelled by {outcome.by}"
    is_charged = isinstance(outcome, Crashed | TimedOut)
    event, level = "reaped", logging.WARNING if is_charged else logging.DEBUG
    if item.verb == "fail":
        event, level = "failed", logging.ERROR
    if log.isEnabledFor(level):
        text = "job.%s job_id=%s function=%s token=%d child=%s %s"
        log.log(level, text, event, held.id, function_of(held), held.token, held.run.child, reason)


def function_of(held: Held) -> str:
    """Return the name of the function of a run, as far as its envelope can be read."""
    return str(header_or_empty(held.envelope).get("function", "?"))


def listed(held: Sequence[Held]) -> str:
    """Describe runs for a log line: how many, of which functions, and the first ids."""
    functions = list(dict.fromkeys(function_of(one) for one in held))
    shown = [",".join(part[:SHOWN]) + (",…" if len(part) > SHOWN else "") for part in (functions, [x.id for x in held])]
    return f"jobs={len(held)} functions={shown[0]} ids={shown[1]}"


def worker_of(child: str) -> str:
    """Return the worker of a child, from the form ``<worker>.<number>``."""
    return child.rpartition(".")[0]


def is_in_caller(child: str) -> bool:
    """Whether a child is a worker in the caller's process (`Fleet.run_worker`), which one job can end completely."""
    return child.endswith(".0")  # a supervisor numbers its children from 1


class Published:
    """The published records of functions and the heartbeats of workers; refreshed every few seconds."""

    def __init__(self) -> None:
        self.functions: Mapping[str, bytes] = {}
        self.beats: Mapping[str, int] = {}

    def present(self, child: str, now_us: int, gone_us: int) -> bool:
        """Whether the worker of a child sent a heartbeat within `gone_us`."""
        beat = self.beats.get(worker_of(child))
        return beat is not None and now_us - beat <= gone_us


class Unreadables:
    """Removes unreadable rows from lanes: they become dead letters, counted and logged once.

    Any component that meets such a row handles it: a child that claimed it, a supervisor that cleans up after a child,
    or a process that ticks the lane.

    Args:
        store: The connection to Redis.
        config: The settings, for the lifetime of the endings.
        tally: Counts the metrics.
    """

    def __init__(self, store: AsyncStore, config: JobConfig, tally: Tally) -> None:
        self._store = store
        self._ttl_ms = round(config.failed_result_ttl * 1000)
        self._tally = tally
        self._tasks: set[asyncio.Task[int]] = set()

    def begin(self, lane: Lane, rows: Iterable[Spoiled]) -> None:
        """Remove rows from a lane in the background; see `set_aside`."""
        task = asyncio.get_running_loop().create_task(self.set_aside(lane, rows))
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def drained(self, timeout: float) -> None:
        """Wait up to `timeout` seconds until the background work is done; a later tick finds the rest."""
        if self._tasks:
            await asyncio.wait(tuple(self._tasks), timeout=timeout)

    async def set_aside(self, lane: Lane, rows: Iterable[Spoiled]) -> int:
        """Remove rows from a lane; return their number. If Redis refuses, log it; a later tick finds the rows again."""
        found, count = list(rows), 0
        for at in range(0, len(found), CHUNK):
            part = [(row, _record(row)) for row in found[at : at + CHUNK]]
            try:
                letters = await self._store.run(set_aside(lane, part, ttl_ms=self._ttl_ms))
            except JobfleetError as error:
                log.error("job.unreadable lane=%s rows=%d cannot be set aside: %s", lane.tag, len(part), error)
                continue
            for (row, _), letter in zip(part, letters, strict=True):
                count += letter in "ab"
                self._tell(lane, row, letter)
        return count

    def _tell(self, lane: Lane, row: Spoiled, letter: str) -> None:
        if letter == "a":
            self._tally.count("jobs_dead_lettered_total", (lane.queue, REASON))
            log.error("job.unreadable lane=%s %s: stored as dead letter %s", lane.tag, row.why, letter_id(lane, row.id))
        elif letter == "b":
            self._tally.count("jobs_retried_total", (lane.queue, REASON))
            log.error("run.unreadable job_id=%s %s: it runs again", shown(row.id), row.why)


def _record(row: Spoiled) -> bytes:
    return seal_record(
        {
            "error": row.why[:1000],
            "error_type": str(ErrorType.PERMANENT),
            "error_class": REASON,
        }
    )
