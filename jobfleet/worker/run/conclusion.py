"""How a run ends: name the outcome, decide what it leads to, write the record, and send it in a group commit.

`Conclusions.conclude` is the only way to end a run that is settled. The policy decides (`jobfleet.retry.decision`).
"""

from __future__ import annotations

import asyncio
import inspect
import logging
from collections.abc import Callable, Coroutine, Mapping, Sequence
from contextvars import Context
from functools import partial
from typing import Any

from jobfleet.codec import Limits, seal_record, seal_trusted
from jobfleet.codec.frames import DESCRIBED
from jobfleet.config import JobConfig
from jobfleet.errors import EncodingError, JobCancelled, JobfleetError, ScriptContractError, UnknownKey
from jobfleet.functions.options import KEEP_LAST
from jobfleet.functions.steps import end_of
from jobfleet.functions.typed_call import INVALID_ARGUMENTS, ArgumentsRefused
from jobfleet.model import suffix_time_us
from jobfleet.model.signals import NotWritten, WorkerDraining, found_in, suspension_of
from jobfleet.outcome import (
    Broken,
    Cancelled,
    Interrupted,
    LeaseLost,
    Outcome,
    OutOfMemory,
    Raised,
    Succeeded,
    TimedOut,
    Unrunnable,
    Waiting,
)
from jobfleet.retry.decision import (
    Complete,
    Decision,
    Drop,
    Expire,
    Fail,
    Park,
    PutBack,
    Release,
    Retry,
    Suspend,
    decide,
    policy_of,
    with_header,
)
from jobfleet.retry.tries import Begun, Tries, past_fields
from jobfleet.services.confirmations import Confirmations
from jobfleet.store.aio import AsyncStore
from jobfleet.store.call import Call, in_order, levels_in
from jobfleet.store.calls import settle
from jobfleet.store.calls.flow import shorten_parents
from jobfleet.store.calls.run import REFUSED, Report, progress, refused_signal
from jobfleet.store.calls.settle import CHUNK, KEEPS, BriefCompletion, Completion, Item, with_kept
from jobfleet.store.calls.settle import settle as settle_call
from jobfleet.store.keys import Lane
from jobfleet.worker.run import telemetry
from jobfleet.worker.run.endings import OomMover, StoredResults, larger_queue
from jobfleet.worker.run.failure import class_of, error_fields, unwritable, with_function
from jobfleet.worker.run.interfaces import Died, RunEvents
from jobfleet.worker.run.middleware import MiddlewareChain
from jobfleet.worker.run.reports import LEAST_MS
from jobfleet.worker.run.run import Key, NotStarted, Run, Stage
from jobfleet.worker.run.stop_ladder import StopLadder
from jobfleet.worker.run.writer import RunWriter

log = logging.getLogger("jobfleet.worker")
AGAIN_US = 60_000_000
"""When a wait looks again at a signal that was sealed with an unknown key, in µs."""


class Conclusions:
    """Ends the runs of a child.

    Args:
        config: The settings.
        child: The child's id.
        limits: The limits of a result.
        now_us: Redis's time in µs, as the child knows it.
        events: Receives what happens to runs.
        ladder: Stops runs.
        middleware: Calls the hooks after a run.
        writer: Has what the job has written and not sent.
        mover: Moves jobs that ran out of memory.
        stored: Puts large results into the payload store.
        completers: Send endings, by lane.
    """

    def __init__(
        self,
        config: JobConfig,
        *,
        child: str,
        limits: Limits,
        now_us: Callable[[], int],
        events: RunEvents,
        ladder: StopLadder,
        middleware: MiddlewareChain,
        writer: RunWriter,
        mover: OomMover,
        stored: StoredResults,
        completers: Mapping[Lane, Completer],
    ) -> None:
        self._child = child
        self._limits = limits
        self._now_us = now_us
        self._events = events
        self._ladder = ladder
        self._middleware = middleware
        self._writer = writer
        self._mover = mover
        self._stored = stored
        self._large: set[Key] = set()
        self._completers = completers
        self._default_policy = policy_of({}, config)
        self._failed_ttl_ms = round(config.failed_result_ttl * 1000)
        self._dedupe_ms, self._own_id_ms = round(config.dedupe_window * 1000), round(config.own_id_window * 1000)
        self._traceback_bytes = config.traceback_bytes
        self._loop = asyncio.get_running_loop()
        self._tasks: set[asyncio.Task[None]] = set()

    # --- the end of a run -----------------------------------------------------------------------

    def code_ended(self, run: Run, value: Any, error: BaseException | None) -> None:
        """Name the outcome of user code that has returned `value` or raised `error`, and end the run."""
        if error is None and not run.stop.has_limits:
            self.end(run, Succeeded(value))
            return
        outcome = self._outcome_of(run, value, error)
        if type(outcome) is OutOfMemory and (queue := larger_queue(run)):
            if run.stop.interruption is None:
                self._end_elsewhere(run, outcome, queue)
                return
            outcome = run.stop.interruption
        self.end(run, outcome)

    def _outcome_of(self, run: Run, value: Any, error: BaseException | None) -> Outcome:
        stop = run.stop
        why = stop.interruption
        if stop.has_limits and self._ladder.is_past(run) and not isinstance(why, Cancelled | LeaseLost):
            return TimedOut(stop.limits[1])
        if error is None:
            return Succeeded(value)
        if why is not None and stop.stage >= Stage.TERMINATED:
            return why  # the worker has caused this, whatever the process died of
        refused = found_in(error, NotStarted)
        if why is not None and (refused or isinstance(error, asyncio.CancelledError | JobCancelled)):
            return why
        if isinstance(error, JobCancelled) and stop.cancel_by is not None:
            return Cancelled(stop.cancel_by)
        if isinstance(error, WorkerDraining):
            return Interrupted()
        if (wait := suspension_of(error)) is not None:
            return Waiting(wait.key, wait.name, wait.delay)
        if isinstance(error, ArgumentsRefused):
            return Broken(str(error), failed_as=INVALID_ARGUMENTS)
        return refused.outcome if refused else error.outcome if isinstance(error, Died) else Raised(error)

    def end(self, run: Run, outcome: Outcome) -> None:
        """Free the slot of a run whose code has ended or cannot start, and conclude it."""
        has_hooks = run.context is not None and not run.ending.is_over
        if has_hooks or run.stop.timer is not None:
            self._ladder.over(run)
        if has_hooks:
            self._events.code_ended(run)
            self._spawn(self._end_after_hooks(run, outcome))
            return
        self._events.returned(run)
        self.conclude(run, outcome)

    async def _end_after_hooks(self, run: Run, outcome: Outcome) -> None:
        """Call the hooks after a run, then conclude it. Hooks are user code, so the slot is busy until they return."""
        outcome, decision, run.ending.item = self._weighed(run, outcome)
        if run.span is not None:
            run.span.enter()
        try:
            await self._middleware.ended(run, outcome, decision)
        finally:
            self._events.returned(run)
            self.conclude(run, outcome)

    def _end_elsewhere(self, run: Run, outcome: Outcome, queue: str) -> None:
        """End a run whose job continues in another queue."""
        if run.stop.timer is not None:
            self._ladder.over(run)
        self._events.returned(run)
        if run.ending.is_over:
            return
        run.ending.is_over = True
        if run.context is not None:
            self._spawn(self._middleware.ended(run, outcome, Release()))
        self._mover.spawn(self._move(run, outcome, queue))

    async def _move(self, run: Run, outcome: Outcome, queue: str) -> None:
        try:
            item = await self._mover.move(run, queue)
        except NotWritten as error:
            outcome, item = Raised(error), None
        except Exception:  # whatever is wrong, the run must end
            log.exception("job.not_moved job_id=%s queue=%s", run.id, queue, extra={"run": run})
            item = None
        self._settle(run, item if item is not None else self._weighed(run, outcome)[2])

    def conclude(self, run: Run, outcome: Outcome) -> None:
        """Settle a run with what its outcome leads to. Later calls for the same run do nothing.

        The code of the run may still be running, for example when its child ends. Its slot stays busy then.
        """
        ending = run.ending
        if ending.is_over:
            return
        ending.is_over = True
        item = ending.item
        if item is None:
            outcome, decision, item = self._weighed(run, outcome)
            if run.context is not None and not isinstance(outcome, Interrupted):
                self._spawn(self._middleware.ended(run, outcome, decision))
        self._settle(run, item)

    def put_back(self, run: Run, item: settle.Item) -> None:
        """Settle a run that is not started, because its function is paused."""
        run.ending.is_over = True
        self._settle(run, item)

    def drop(self, run: Run) -> None:
        """End a run without writing anything, because another run owns the job."""
        run.ending.is_over = True
        self._settle(run, None)

    async def _settle_stored(self, run: Run, item: settle.Item) -> None:
        """Settle a run after its large result was put into the payload store. Until then it keeps its lease."""
        self._large.discard(run.key)
        if isinstance(item, settle.Completion | settle.BriefCompletion):
            try:
                item = await self._stored.stowed(run, item)
            except Exception as error:  # noqa: BLE001 - whatever the store raises, the run must end
                self._settle(run, self._weighed(run, Raised(error))[2])
                return
        self._settle(run, item)

    def _settle(self, run: Run, item: settle.Item | None) -> None:
        if self._large and item is not None and run.key in self._large:
            self._spawn(self._settle_stored(run, item))
            return
        if run.span is not None:
            run.span.end()
        if item is None:
            self._events.dropped(run)
            return
        run.ending.item = item
        self._events.concluded(run)
        if run.has_kept:
            run.ending.item = item = settle.with_kept(item)
        if run.has_written:
            self._completers[run.lane].add(run, item, *self._writer.last(run, item))
        else:
            self._completers[run.lane].add(run, item)

    def _spawn(self, work: Coroutine[Any, Any, None]) -> None:
        task = self._loop.create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    # --- what an outcome leads to ---------------------------------------------------------------

    def _weighed(self, run: Run, outcome: Outcome) -> tuple[Outcome, Decision, settle.Item | None]:
        """The outcome and the decision that hooks and the span get, and what settles the run."""
        found = self._judged(run, outcome)
        if run.span is not None:
            telemetry.end_span(run.span, found[0], found[1])
        return found

    def _judged(self, run: Run, outcome: Outcome) -> tuple[Outcome, Decision, settle.Item | None]:
        """The outcome and the decision that hooks get, and what settles the run; None when nothing may be written.

        This never fails, whatever the user's error does while it is written down.
        """
        try:
            if isinstance(outcome, Succeeded):
                try:
                    return outcome, Complete(outcome.value), self._complete(run, outcome.value)
                except EncodingError as error:
                    if inspect.iscoroutine(outcome.value):
                        outcome.value.close()  # the error reports it; Python would warn once more
                    outcome = Raised(error)
            return self._unsuccessful(run, outcome)
        except Exception:
            log.exception("job.unwritable job_id=%s", run.id, extra={"run": run})
            return self._unsuccessful(run, unwritable(outcome))

    def _unsuccessful(self, run: Run, outcome: Outcome) -> tuple[Outcome, Decision, settle.Item | None]:
        outcome = with_function(run, outcome)
        decision = self._decided(run, outcome)
        return outcome, decision, self._carry_out(run, outcome, decision)

    def _decided(self, run: Run, outcome: Outcome) -> Decision:
        policy = with_header(run.handler.policy if run.handler else self._default_policy, run.header)
        tries, begun = Tries.parse(run.grant.tries), Begun(run.started_us, self._child) if run.started_us else None
        return decide(outcome, policy, tries, self._now_us(), due_us=run.grant.due, begun=begun)

    def _carry_out(self, run: Run, outcome: Outcome, decision: Decision) -> settle.Item | None:
        match decision:
            case Complete(value):
                return self._complete(run, value)
            case Retry(delay_us, tries):
                telemetry.log_retried(run, tries, outcome, delay_us)
                return settle.retry(run.id, run.token, delay_us=delay_us, tries=_dumped(run, tries, outcome))
            case Release(delay_us, spent):
                telemetry.log_refused(run, outcome)
                tries_text = spent.dump() if spent is not None else ""
                return settle.release(run.id, run.token, delay_us=delay_us, tries=tries_text)
            case Suspend(key, name, delay_us):
                return self._wait(run, key, name, delay_us)
            case Park(delay_us, tries):
                if isinstance(outcome, Unrunnable) and not run.grant.tries:
                    self._events.parked(run, outcome)
                return settle.park(run.id, run.token, delay_us=delay_us, tries=tries.dump())
            case PutBack(function, tries):
                if tries is not None:
                    return settle.release(run.id, run.token, tries=tries.dump())
                return settle.withhold(run.id, run.token, due=run.grant.due, function=function)
            case Expire():
                return settle.expire(run.id, run.token, ttl_ms=self._failed_ttl_ms)
            case Fail():
                return self._fail(run, outcome, decision)
            case Drop():
                return None

    def _complete(self, run: Run, value: object) -> settle.Item:
        duration = self._now_us() - run.started_us
        record = seal_trusted(self._fields(run, duration), value, limits=self._limits)
        if len(record) > self._stored.inline_max:
            self._large.add(run.key)
        handler, header = run.handler, run.header
        if "result_ttl" in header:
            ttl_ms = header["result_ttl"] // 1000
        else:
            ttl_ms = handler.result_ttl_ms if handler else self._failed_ttl_ms
        kept_ms = ttl_ms
        if ttl_ms < self._own_id_ms and ttl_ms < (kept_ms := self._id_kept_ms(run)):
            if not ttl_ms:  # with keys, the archive gets a sealed record without the value: it takes no other ending
                self._large.discard(run.key)
                record = b"" if run.lane.seals is None else seal_record(self._fields(run, duration))
        elif run.lane.seals is None or handler is None or KEEP_LAST not in handler.function.given:
            return settle.complete(run.id, run.token, record=record, ttl_ms=ttl_ms, duration_us=duration)
        # The line may outlive the record. With keys it has a proof, so that is done for each function with `keep_last`.
        return settle.complete_briefly(
            run.id, run.token, record=record, ttl_ms=max(kept_ms, ttl_ms), duration_us=duration, value_ttl_ms=ttl_ms
        )

    def _wait(self, run: Run, key: str, name: str, delay_us: int) -> settle.Wait:
        ttl_ms = self._writer.step_writer.ttl_ms
        if run.lane.seals is None:
            return settle.wait(run.id, run.token, key=key, name=name, delay_us=delay_us, ttl_ms=ttl_ms)
        known = run.output.waits
        till = end_of(known, run.id, key, delay_us / 1e6) or self._now_us() + delay_us
        error, refused = refused_signal(known.get(REFUSED + name, b"0 "))
        again_us = AGAIN_US if isinstance(error, UnknownKey) else 0  # the key may be about to arrive
        return settle.wait(
            run.id, run.token, key=key, name=name, delay_us=delay_us, ttl_ms=ttl_ms, till=till, refused=refused,
            again_us=again_us,
        )  # fmt: skip

    def _id_kept_ms(self, run: Run) -> int:
        """For how long the job's id must be refused, because it may come again."""
        is_own = suffix_time_us(run.id.split(".", 2)[2]) is None
        return self._own_id_ms if is_own else self._dedupe_ms

    def _fields(self, run: Run, duration: int) -> dict[str, object]:
        header = run.header
        fields: dict[str, object] = {
            "function": header["function"],
            "started_at": run.started_us,
            "duration": duration,
            "worker": self._child,
        }
        if len(header) > 1:
            fields.update({name: header[name] for name in DESCRIBED if name in header})
        if run.handler is not None and run.handler.keeps_args and len(run.grant.envelope) <= KEPT_BYTES:
            fields["envelope"] = run.grant.envelope
        if run.span is not None:
            fields["trace"] = run.span.traceparent
        if run.grant.tries:
            tries = Tries.parse(run.grant.tries)
            fields["attempt"] = tries.attempt
            fields["retry_count"] = tries.failures
            fields |= past_fields(tries, tries.runs + 1)
            if "flow" in header:  # after a replay, other jobs of the flow may be left to continue
                fields["flow"] = header["flow"]
        return fields

    def _fail(self, run: Run, outcome: Outcome, decision: Fail) -> settle.Item:
        duration = self._now_us() - run.started_us
        header = run.header
        record = seal_record(
            {
                "function": header.get("function", ""),
                **{name: header[name] for name in DESCRIBED if name in header},
                **error_fields(outcome, decision, traceback_bytes=self._traceback_bytes),
                "started_at": run.started_us,
                "duration": duration,
                "worker": self._child,
                "attempt": Tries.parse(run.grant.tries).attempt,
                "retry_count": Tries.parse(run.grant.tries).failures,
                **past_fields(decision.tries, decision.tries.runs, run.grant.meta),
                **({} if run.span is None else {"trace": run.span.traceparent}),
            }
        )
        telemetry.log_failed(run, decision.tries, outcome, decision.reason)
        return settle.fail(
            run.id,
            run.token,
            record=record,
            ttl_ms=self._failed_ttl_ms,
            duration_us=duration,
            reason=decision.reason,
            tries=_dumped(run, decision.tries, outcome),
        )


def _dumped(run: Run, tries: Tries, outcome: Outcome) -> str:
    """The tries as they are stored. They are in clear text, so with encryption they only have the class of an error."""
    seals = run.lane.seals
    if seals is not None and seals.hides and isinstance(outcome, Raised) and tries.history:
        tries = tries.hiding(class_of(outcome.error))
    return tries.dump() if run.span is None else telemetry.with_traceparent(tries.dump(), run.span.traceparent)


MOST_CHUNKS = 10
KEPT_BYTES = 64 * 1024
"""An envelope of more bytes is not kept in the record: the fields of a record have at most 256 KiB in total."""


class Completer:
    """Settles the runs of one lane by group commit: endings that arrive during one trip are sent in the next one.

    An idle lane sends an ending at once. A busy lane sends hundreds in one trip. One trip per lane is in flight at a
    time. A repeated trip carries the same nonce, so nothing is counted twice.

    Args:
        lane: The lane.
        child: The child that ran them.
        store: The connection. It must have endless patience: an outage must not lose an ending.
        progress_ttl_ms: How long a last report is kept.
        events: Receives the answers.
        confirmations: Confirms the endings of durable jobs; None if they are not to be confirmed.
    """

    def __init__(
        self,
        lane: Lane,
        child: str,
        store: AsyncStore,
        *,
        progress_ttl_ms: int,
        events: RunEvents,
        confirmations: Confirmations | None = None,
    ) -> None:
        self._lane = lane
        self._child = child
        self._store = store
        self._ttl_ms = progress_ttl_ms
        self._events = events
        self._confirmations = confirmations
        self._loop = asyncio.get_running_loop()
        self._context = Context()  # not that of the job whose ending is the first to be sent
        self._nonce = 0
        self._items: list[Item] = []
        self._runs: list[Run] = []
        self._reports: list[Report] = []
        self._calls_before: list[Call[Any]] = []
        self._notes: list[Call[Any]] = []
        self._task: asyncio.Task[None] | None = None

    def add(self, run: Run, item: Item, report: Report | None = None, ahead: Sequence[Call[Any]] = ()) -> None:
        """Send the ending of a run, after the calls that must come first in the same trip."""
        self._items.append(item)
        self._runs.append(run)
        if report is not None:
            self._reports.append(report)
        if ahead:
            self._calls_before.extend(ahead)
        if self._task is None:
            self._task = self._loop.create_task(self._send(), context=self._context)

    def note(self, call: Call[Any]) -> None:
        """Send a call about a run that has not ended."""
        self._notes.append(call)
        if self._task is None:
            self._task = self._loop.create_task(self._send(), context=self._context)

    async def _send(self) -> None:
        try:
            while self._items or self._notes:
                await self._trip()
        finally:
            self._task = None

    async def _trip(self) -> None:
        most = CHUNK * MOST_CHUNKS
        items, self._items = self._items[:most], self._items[most:]
        runs, self._runs = self._runs[:most], self._runs[most:]
        reports, self._reports = self._reports, []
        self._nonce += 1
        calls: list[Any] = [*self._notes, *self._calls_before]
        notes = len(self._notes)
        self._notes, self._calls_before = [], []
        calls += [
            progress(self._lane, reports[at : at + CHUNK], ttl_ms=self._ttl_ms) for at in range(0, len(reports), CHUNK)
        ]
        first = len(calls)
        has_more = first > notes
        for number, at in enumerate(range(0, len(items), CHUNK), start=1):
            calls.append(
                settle_call(self._lane, items[at : at + CHUNK], child=self._child, nonce=self._nonce, chunk=number)
            )
        if has_more:
            calls[notes:] = in_order(calls[notes:])
        kept = _kept_of_parents(runs, items)
        calls += [shorten_parents(self._lane, kept[at : at + CHUNK]) for at in range(0, len(kept), CHUNK)]
        try:
            levels = levels_in([run.header for run in runs])
            if levels and self._confirmations is not None:
                answers = await self._confirmations.run_many(self._lane, calls, levels, what=_named(runs))
            else:
                answers = await self._store.run_many(calls)
        except Exception:  # it must not block the slots of these jobs, nor later endings
            log.exception("worker.unsent lane=%s jobs=%d their leases run out", self._lane.tag, len(runs))
            answers = [ScriptContractError("the trip of these endings failed")] * len(calls)
        at = 0
        answers = answers[first : first + -(-len(items) // CHUNK)]
        if any(answer.watched for answer in answers if not isinstance(answer, JobfleetError)):
            self._events.dependants_ready(self._lane)
        for answer in answers:
            part: Sequence[Run] = runs[at : at + CHUNK]
            letters = "?" * len(part) if isinstance(answer, JobfleetError) or answer.is_stale else answer.letters
            settled: Sequence[Item] = items[at : at + CHUNK]
            if KEEPS in letters:
                part, settled, letters = self._without_kept(part, settled, letters)
            self._answer(part, settled, letters)
            at += CHUNK

    def _without_kept(
        self, runs: Sequence[Run], items: Sequence[Item], letters: str
    ) -> tuple[Sequence[Run], Sequence[Item], str]:
        """Send again the endings of jobs that keep something of which their runs do not know; return the others."""
        rows = list(zip(runs, items, letters, strict=True))
        for run, item, letter in rows:
            if letter == KEEPS:
                self._items.append(with_kept(item))
                self._runs.append(run)
        others = [row for row in rows if row[2] != KEEPS]
        return [row[0] for row in others], [row[1] for row in others], "".join(row[2] for row in others)

    def _answer(self, runs: Sequence[Run], items: Sequence[Item], letters: str) -> None:
        """Hand out the answers to the endings of a chunk. An error must not cost the other runs of the trip theirs."""
        for run, letter in zip(runs, letters, strict=True):
            try:
                self._events.settled(run, letter)
            except Exception:
                log.exception("job.unanswered job_id=%s letter=%s", run.id, letter, extra={"run": run})
        try:
            self._events.answered(runs, items, letters)
        except Exception:
            log.exception("jobs.uncounted lane=%s jobs=%d", self._lane.tag, len(runs))

    async def drained(self, timeout: float) -> bool:
        """Wait until everything is sent; False if that takes longer than `timeout` seconds, because Redis is away."""
        if self._task is None:
            return True
        _, left = await asyncio.wait((self._task,), timeout=timeout)
        for task in left:
            task.cancel()
        return not left


def _kept_of_parents(runs: Sequence[Run], items: Sequence[Item]) -> list[tuple[str, int]]:
    """The jobs that have completed and have parents, and for how many ms these are kept: as long as the result."""
    return [
        (run.id, max(LEAST_MS, item.value_ttl_ms if isinstance(item, BriefCompletion) else item.ttl_ms))
        for run, item in zip(runs, items, strict=True)
        if "parents" in run.header and isinstance(item, Completion | BriefCompletion)
    ]


def _named(runs: Sequence[Run]) -> str:
    more = f" and {len(runs) - 1:,} more" if len(runs) > 1 else ""
    return f"the ending of {runs[0].id}{more}"


class Completers(dict[Lane, Completer]):
    """The completers of a child by lane, each created on first use.

    Args:
        child: The child that runs the jobs.
        store: The connection, with endless patience.
        progress_ttl_ms: How long a last report is kept.
        events: Receives the answers.
        confirmations: Confirms the endings of durable jobs.
    """

    def __init__(
        self,
        child: str,
        store: AsyncStore,
        *,
        progress_ttl_ms: int,
        events: RunEvents,
        confirmations: Confirmations,
    ) -> None:
        super().__init__()
        self._make = partial(
            Completer,
            child=child,
            store=store,
            progress_ttl_ms=progress_ttl_ms,
            events=events,
            confirmations=confirmations,
        )

    def __missing__(self, lane: Lane) -> Completer:
        made = self[lane] = self._make(lane)
        return made

    async def drained(self, timeout: float) -> None:
        """Wait until everything is sent, for at most `timeout` seconds per lane."""
        for completer in list(self.values()):
            if not await completer.drained(timeout):
                log.error("worker.unsent Redis is away: endings that it did not receive are settled when leases expire")
