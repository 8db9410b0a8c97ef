"""Starts one run: open the envelope, find the function, read what it needs, set the time limits, and call it."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Coroutine, Mapping, Sequence
from functools import partial
from typing import TYPE_CHECKING, Any, Protocol

from jobfleet.codec import Limits, amended, open_envelope, recalled
from jobfleet.codec.frames import BodyElsewhere, OpenedEnvelope, is_refused, open_record, read_fields
from jobfleet.errors import (
    BadSignature,
    ConfigError,
    EncodingError,
    EnvelopeTooNew,
    InvalidJob,
    PayloadLost,
    PayloadUnavailable,
    UnknownKey,
)
from jobfleet.event_loop import in_thread
from jobfleet.functions.options import UPCAST, too_new
from jobfleet.model.spec import PARENT_MARK_BYTES, parent_mark
from jobfleet.operations.operation import batches, by_lane
from jobfleet.outcome import Broken, Outcome, Overdue, Unrunnable
from jobfleet.payloads.payloads import MARK, Payloads, reference_of
from jobfleet.retry.decision import describe
from jobfleet.store.aio import AsyncStore
from jobfleet.store.calls import flow, inspect
from jobfleet.store.keys import Keyspace, Lane
from jobfleet.store.records import opened_ending
from jobfleet.worker.run import telemetry
from jobfleet.worker.run.conclusion import Conclusions
from jobfleet.worker.run.context import context_of
from jobfleet.worker.run.handlers import HERE, Handler, Handlers, UnknownFunction
from jobfleet.worker.run.interfaces import Executor, OnEnd
from jobfleet.worker.run.middleware import MiddlewareChain
from jobfleet.worker.run.run import NotStarted, ParentEnd, Run
from jobfleet.worker.run.stop_ladder import StopLadder, limits_of

if TYPE_CHECKING:
    from jobfleet.codec.seals import Seals


BAD_SIGNATURE = "bad-signature"
"""The reason for which a job is a dead letter whose envelope, or a parent's result, is not what was sealed."""

log = logging.getLogger("jobfleet.worker")


class LiveFunctions(Protocol):
    """Tells which functions other live workers can run."""

    async def judge(self, run: Run, reason: str) -> Outcome:
        """The outcome of a run whose function is not known here; `reason` is for the case that nobody knows it."""


class Gates(Protocol):
    """The named limits and circuit breakers of functions."""

    async def passed(
        self, run: Run, handler: Handler, args: Sequence[Any], kwargs: Mapping[str, Any]
    ) -> Outcome | None:
        """Let a run through its gates; return None, or the outcome of a run that may not start."""

    def watched(self, run: Run, on_end: OnEnd) -> OnEnd:
        """What is called when the code of a run ends."""

    def left(self, run: Run) -> None:
        """A run that has passed did not start."""


class Runner:
    """Starts the runs of a child.

    Args:
        handlers: The functions.
        executors: Where functions run, by `Handler.where`. Suspects run in ``quarantine``, if there is one.
        ladder: Sets the time limits.
        middleware: Calls functions that have hooks, middleware, a context or resources.
        conclusions: Ends the runs.
        parents: Looks up the results of the jobs that a run has waited for.
        routes: Knows which functions other workers know.
        gates: The limits and breakers of functions.
        child: The child's id.
        payloads: The payload store; None if the settings name none.
        limits: The limits of arguments.
        hard_grace: Seconds between a job's own timeout and its hard timeout.
        job_level: The level of the lines about starts; None if they are not logged.
    """

    def __init__(
        self,
        handlers: Handlers,
        executors: Mapping[str, Executor],
        ladder: StopLadder,
        *,
        middleware: MiddlewareChain,
        conclusions: Conclusions,
        parents: Parents,
        routes: LiveFunctions,
        gates: Gates,
        child: str,
        payloads: Payloads | None,
        limits: Limits,
        hard_grace: float,
        job_level: int | None,
    ) -> None:
        self._handlers = handlers
        self._executors = executors
        self._ladder = ladder
        self._middleware = middleware
        self._conclusions = conclusions
        self._parents = parents
        self._routes = routes
        self._gates = gates
        self._child = child
        self._payloads = payloads
        self._limits = limits
        self._hard_grace = hard_grace
        self._job_level = job_level
        self._loop = asyncio.get_running_loop()
        self._tasks: set[asyncio.Task[None]] = set()

    def start(self, run: Run) -> None:
        """Start a run. It ends by itself, whatever is in its envelope."""
        try:
            opened, handler = self._open(run), run.handler
            if not isinstance(opened, OpenedEnvelope) or handler is None:
                self._end_unopened(run, opened)
            elif "parents" in opened.header and not self._ignores_parents(run, handler):
                self._spawn(run, self._launch_after_parents(run, handler, opened))
            else:
                self._try_launch(run, handler, opened)
        except Exception as error:  # noqa: BLE001 - it is logged, and the run ends
            self._end_broken(run, error)

    def _ignores_parents(self, run: Run, handler: Handler) -> bool:
        """Whether nothing in this run can ask how those ended that it has waited for."""
        if not handler.is_plain or handler.where not in HERE or run.is_quarantined or self._parents.are_sealed:
            return False
        return self._middleware.is_empty and self._middleware.tracer is None

    def _end_broken(self, run: Run, error: Exception) -> None:
        """End a run that an unexpected error keeps from its start."""
        log.error("job.broken job_id=%s", run.id, exc_info=error, extra={"run": run})
        if not run.ending.is_over:
            self._conclusions.end(run, Broken(f"it cannot be started: {describe(error)}"))

    def _end_unopened(self, run: Run, found: OpenedEnvelope | Outcome | UnknownFunction | BodyElsewhere) -> None:
        """End a run that cannot be launched, or fetch its arguments."""
        if isinstance(found, BodyElsewhere):
            self._spawn(run, self._start_stored(run))
        elif isinstance(found, UnknownFunction):
            self._spawn(run, self._judge_unknown(run, str(found)))
        elif isinstance(found, OpenedEnvelope):
            self._conclusions.end(run, Broken("it has no function"))
        else:
            self._conclusions.end(run, found)

    def _open(self, run: Run) -> OpenedEnvelope | Outcome | UnknownFunction | BodyElsewhere:
        meta = run.grant.meta
        if meta and not run.grant.tries and _is_expired(meta, run.started_us):
            return Overdue()
        if not run.grant.envelope:
            return Broken("its envelope is gone: was Redis made to evict keys?")
        try:
            opened = open_envelope(run.grant.envelope, limits=self._limits)
            run.header = opened.header
            run.handler = handler = self._handlers.get(opened.header["function"])
            if opened.header.get("schema", 1) != handler.version:  # asked here too: this is on the path of each job
                return at_version(run, handler, opened, self._limits)
        except BodyElsewhere as elsewhere:
            return self._found_for(run, elsewhere)
        except EnvelopeTooNew as error:
            return Unrunnable(str(error))
        except UnknownKey as error:  # it may be about to arrive, if keys are being rotated
            return Unrunnable(str(error), failed_as="unknown-key")
        except BadSignature as error:
            return Broken(str(error), failed_as=BAD_SIGNATURE)
        except UnknownFunction as error:
            return error
        except (EncodingError, KeyError, TypeError) as error:
            return Broken(f"its envelope cannot be read: {error}")
        return opened

    def _found_for(self, run: Run, elsewhere: BodyElsewhere) -> Outcome | UnknownFunction | BodyElsewhere:
        """Find the function of a run whose arguments are in the payload store, before they are fetched."""
        run.header = elsewhere.header
        try:
            run.handler = self._handlers.get(elsewhere.header["function"])
        except UnknownFunction as error:
            return error
        except (KeyError, TypeError) as error:
            return Broken(f"its envelope cannot be read: {error}")
        return elsewhere

    async def _start_stored(self, run: Run) -> None:
        """Start a run whose arguments are in the payload store."""
        envelope = await fetched(self._payloads, run.grant.envelope)
        await run.lease_confirmed()  # the store may be slow
        if run.ending.is_over:
            return
        if run.stop.interruption is not None:
            self._conclusions.end(run, run.stop.interruption)
        elif isinstance(envelope, bytes):
            run.grant = run.grant._replace(envelope=envelope)
            self.start(run)
        else:
            self._conclusions.end(run, envelope)

    async def _judge_unknown(self, run: Run, reason: str) -> None:
        """End a run whose function is not known here."""
        try:
            outcome = await self._routes.judge(run, reason)
        except Exception as error:  # the job is not to blame, and another worker may know the function
            log.exception("job.unjudged job_id=%s", run.id, extra={"run": run})
            outcome = Unrunnable(f"{reason} Other workers cannot be looked up: {describe(error)}", may_fail=False)
        if not run.ending.is_over:
            self._conclusions.end(run, run.stop.interruption or outcome)

    async def _launch_after_parents(self, run: Run, handler: Handler, opened: OpenedEnvelope) -> None:
        """Launch a run that has waited for other jobs, once their results are known."""
        outcome: Outcome | None = None
        try:
            found = await with_results(self._payloads, await self._parents(run.lane, run.id, run.header))
        except BadSignature as error:
            outcome = Broken(str(error), failed_as=BAD_SIGNATURE)
        except UnknownKey as error:
            outcome = Unrunnable(str(error), failed_as="unknown-key")
        except Exception as error:  # noqa: BLE001 - whatever is stored there, the run must not hold its slot for ever
            log.warning("job.parents_unknown job_id=%s %s", run.id, error, extra={"run": run})
            outcome = Broken(f"how those ended that it has waited for cannot be read: {describe(error)}")
        else:
            if isinstance(found, list):
                run.parents = found
            else:
                outcome = found
            await run.lease_confirmed()  # the look-up may have waited for Redis
        if run.ending.is_over:
            return
        outcome = run.stop.interruption or outcome
        if outcome is not None:
            self._conclusions.end(run, outcome)
        else:
            self._try_launch(run, handler, opened)

    def _try_launch(self, run: Run, handler: Handler, opened: OpenedEnvelope) -> None:
        if handler.function.gates is not None:
            self._spawn(run, self._launch_through_gates(run, handler, opened))
            return
        try:
            self._launch(run, handler, opened.args, opened.kwargs)
        except BadSignature as error:  # the result of a parent
            self._conclusions.end(run, Broken(str(error), failed_as=BAD_SIGNATURE))
        except Exception as error:  # noqa: BLE001 - whatever the envelope says, it must not end the worker
            self._conclusions.end(run, Broken(f"it cannot be started: {describe(error)}"))

    async def _launch_through_gates(self, run: Run, handler: Handler, opened: OpenedEnvelope) -> None:
        """Launch a run that its named limits and its circuit breaker let through."""
        refusal = await self._passed(run, handler, opened)
        if run.ending.is_over:
            self._gates.left(run)
            return
        outcome = run.stop.interruption or refusal
        if outcome is None:
            try:
                self._launch(run, handler, opened.args, opened.kwargs)
                return
            except BadSignature as error:  # the result of a parent
                outcome = Broken(str(error), failed_as=BAD_SIGNATURE)
        self._gates.left(run)
        self._conclusions.end(run, outcome)

    async def _passed(self, run: Run, handler: Handler, opened: OpenedEnvelope) -> Outcome | None:
        """Let a run through its gates. If something waits before the call, this asks again right before the call."""
        refusal = await self._gates.passed(run, handler, opened.args, opened.kwargs)
        await run.lease_confirmed()  # the answer may have waited for Redis
        is_next = run.is_quarantined or (handler.where != "batch" and self._middleware.calls_at_once(handler))
        if refusal is None and run.passage is not None and is_next:
            try:
                await run.passage.before_call()
            except NotStarted as error:
                return error.outcome
        return refusal

    def _launch(self, run: Run, handler: Handler, args: list[Any], kwargs: dict[str, Any]) -> None:
        if (handler.timeout or handler.hard_timeout or len(run.header) > 1) and handler.where != "batch":
            soft, hard = limits_of(run.header, handler, self._hard_grace)
            if soft or hard:
                self._ladder.limit(run, soft, hard)
        if self._job_level is not None:
            telemetry.log_started(run, self._job_level)  # before the code's own lines
        if (tracer := self._middleware.tracer) is not None:
            run.span = telemetry.begin_span(tracer, run, self._child)
        on_end: OnEnd = partial(self._conclusions.code_ended, run)
        if handler.function.gates is not None:
            on_end = self._gates.watched(run, on_end)
        if run.is_quarantined:
            self._launch_in_quarantine(run, handler, args, kwargs, on_end)
        elif handler.is_plain and self._middleware.is_empty:
            run.executor = executor = self._executors[handler.where]
            executor.start(run, handler, args, kwargs, on_end)
        else:
            self._middleware.launch(run, handler, self._child, args, kwargs, on_end)

    def _launch_in_quarantine(
        self, run: Run, handler: Handler, args: list[Any], kwargs: dict[str, Any], on_end: OnEnd
    ) -> None:
        """Launch a suspect in a quarantine process. Hooks after the run are called here, all else is called there."""
        if self._middleware.has_endings:
            run.context = context_of(run, self._child, args, kwargs)
        run.executor = executor = self._executors["quarantine"]
        executor.start(run, handler, args, kwargs, on_end)

    def _spawn(self, run: Run, work: Coroutine[Any, Any, None]) -> None:
        """Do some of the work of a start in the background. If it fails in any way, the run ends."""
        task = self._loop.create_task(self._end_if_it_fails(run, work))
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def _end_if_it_fails(self, run: Run, work: Coroutine[Any, Any, None]) -> None:
        try:
            await work
        except Exception as error:  # noqa: BLE001 - whatever is wrong, the run must not hold its slot for ever
            self._end_broken(run, error)


def _is_expired(meta: str, now_us: int) -> bool:
    for line in meta.split("\n"):
        if line.startswith("x "):
            return int(line[2:]) <= now_us
    return False


# Brings the arguments of a job to the version that its function takes; a job of a later version is parked.


NEWER = "newer-schema"


def at_version(
    run: Run, handler: Handler, opened: OpenedEnvelope, limits: Limits
) -> OpenedEnvelope | Broken | Unrunnable:
    """The call with the arguments of the function's version, or the outcome of the run if there is none.

    A process of its own opens the envelope itself, so the run then has an envelope with these arguments.

    Args:
        run: The run.
        handler: Its function.
        opened: Its envelope, with this or another version.
        limits: The limits of arguments.
    """
    function, version = handler.function, opened.header.get("schema", 1)
    if version == handler.version:
        return opened
    if version > handler.version:
        return Unrunnable(too_new(function.name, version, f"this worker has {handler.version}"), failed_as=NEWER)
    try:
        args, kwargs = function.schema.upcast(function.name, version, opened.args, opened.kwargs)
        function.fit.check((len(args), *kwargs), args, kwargs)
        if handler.where == "process" or run.is_quarantined:
            envelope = amended(run.grant.envelope, {"schema": handler.version})
            run.grant = run.grant._replace(envelope=recalled(envelope, args, kwargs, limits=limits))
    except EncodingError as error:
        return Broken(f"The upcasts of {function.name} from schema version {version}: {error}", failed_as=UPCAST)
    except InvalidJob as error:
        log.error("job.not_upcast job_id=%s %s", run.id, error, exc_info=error.__cause__, extra={"run": run})
        text = str(error)
        if error.field != UPCAST:
            text = (
                f"The upcasts of {function.name} from schema version {version} to {handler.version} do not fit: {text}"
            )
        return Broken(text, failed_as=UPCAST)
    return opened._replace(args=list(args), kwargs=kwargs)


# Reads arguments, and the results of parents, from the payload store of the fleet.


UNAVAILABLE = "payload-unavailable"
LOST = "payload-lost"
NO_STORE = "The payload is in a payload store, and this worker has none: set payload_store."


async def fetched(payloads: Payloads | None, data: bytes) -> bytes | Outcome:
    """An envelope or a record with its body, or the outcome of a run that cannot have it.

    Args:
        payloads: The payload store; None if this worker has none.
        data: The envelope or the record; its body may be in the store.
    """
    if payloads is None:
        return Unrunnable(NO_STORE, failed_as=UNAVAILABLE)
    try:
        return await in_thread(payloads.whole, data)
    except UnknownKey as error:
        return Unrunnable(str(error), failed_as="unknown-key")
    except (PayloadUnavailable, ConfigError) as error:
        return Unrunnable(str(error), failed_as=UNAVAILABLE)
    except PayloadLost as error:
        return Broken(str(error), failed_as=LOST)
    except BadSignature as error:
        return Broken(str(error), failed_as="bad-signature")
    except EncodingError as error:
        return Broken(f"its payload cannot be read: {error}")


async def with_results(payloads: Payloads | None, rows: list[ParentEnd]) -> list[ParentEnd] | Outcome:
    """The ends of parents with their results, or the outcome of a run if the store is away.

    A result that the store does not have any more counts as deleted, as at the end of its time.
    """
    if not any(MARK in value for _, _, value in rows):  # nearly always
        return rows
    found = []
    for parent, status, value in rows:
        line, _, record = value.partition(b"\n")
        if is_stored(record):
            body = await fetched(payloads, record)
            if isinstance(body, Unrunnable):
                return body
            found.append((parent, status, line + b"\n" + body if isinstance(body, bytes) else b""))
        else:
            found.append((parent, status, value))
    return found


def is_stored(record: bytes) -> bool:
    """Whether the value of a record is in a payload store; False for other bytes."""
    if MARK not in record:
        return False
    try:
        return reference_of(record) is not None
    except EncodingError:
        return False


TOGETHER = 50
"""The number of runs whose parents are looked up in one trip."""


class Parents:
    """Looks up how the parents of runs ended. Look-ups that begin at the same moment share a trip.

    Args:
        store: The connection.
        keys: The keys of the fleet.
    """

    def __init__(self, store: AsyncStore, keys: Keyspace) -> None:
        self._store = store
        self._keys = keys
        self._asked: list[tuple[Lane, str, asyncio.Future[list[flow.ParentState]]]] = []
        self._trips: set[asyncio.Task[None]] = set()

    @property
    def are_sealed(self) -> bool:
        """Whether results are sealed; then a run is refused if that of a parent was forged."""
        return self._keys.seals is not None

    async def __call__(self, lane: Lane, job_id: str, header: Mapping[str, Any]) -> list[ParentEnd]:
        """How the parents of a job ended, in order. Large results are read from their own keys.

        Args:
            lane: The lane of the job.
            job_id: The job.
            header: The header of its envelope.

        Raises:
            BadSignature: With signatures required, a parent that must have completed is not shown to have.
            UnknownKey: The ending of a parent was sealed with a key that this process does not have.
        """
        loop = asyncio.get_running_loop()
        answer: asyncio.Future[list[flow.ParentState]] = loop.create_future()
        if not self._asked:
            loop.call_soon(self._begin_trip)
        self._asked.append((lane, job_id, answer))
        states = await answer
        rows = {state.parent: (state.parent, state.status, state.record) for state in states}
        left = [one.parent for one in states if not one.record and one.status not in ("", "gone")]
        for there, part in by_lane(((self._keys.lane_of(parent), parent) for parent in left), inspect.CHUNK):
            values = await self._store.run(flow.results(there, part))
            for parent, value in zip(part, values, strict=True):
                rows[parent] = (parent, rows[parent][1], value)
        if (seals := self._keys.seals) is None:
            return list(rows.values())
        opened = [(parent, status, opened_ending(seals, parent, value)) for parent, status, value in rows.values()]
        if seals.requires:
            proofs = {state.parent: (state.token, state.proof) for state in states}
            _check(seals, opened, proofs, header.get("required"))
        return opened

    def _begin_trip(self) -> None:
        asked, self._asked = self._asked, []
        task = asyncio.get_running_loop().create_task(self._look_up(asked))
        self._trips.add(task)
        task.add_done_callback(self._trips.discard)

    async def _look_up(self, asked: Sequence[tuple[Lane, str, asyncio.Future[list[flow.ParentState]]]]) -> None:
        for part in batches(asked, TOGETHER):
            try:
                found = await self._store.run_many([flow.parents(lane, job_id) for lane, job_id, _ in part])
            except Exception as error:  # noqa: BLE001 - each of these runs ends with the error, or it would wait for ever
                found = [error] * len(part)
            for (_, _, answer), states in zip(part, found, strict=True):
                if answer.done():
                    continue  # its run was stopped in the meantime
                if isinstance(states, Exception):
                    answer.set_exception(states)
                else:
                    answer.set_result(states)


def _check(seals: Seals, rows: Sequence[ParentEnd], proofs: Mapping[str, tuple[int, str]], required: object) -> None:
    """Check that all parents have ended, that nothing that is handed over is forged, and that the required completed.

    Who writes to Redis without the keys can remove and add parents, so the header names those that must have completed.
    The new job of a parent that was moved names the former id.
    """
    completed = set()
    for parent, status, ending in rows:
        value, (token, proof) = ending, proofs[parent]
        if not value and status == "completed":  # it is deleted by now
            value = opened_ending(seals, parent, b"completed 0 %d 0 - - %b\n" % (token, proof.encode()))
        line, _, body = value.partition(b"\n")
        if is_refused(body):
            open_record(body)  # raises the error
        if not status:
            raise BadSignature(f"parents: {parent} has not ended.", what="parents")
        if line.startswith(b"completed "):
            fields = read_fields(body) if body else {}
            completed |= {parent_mark(str(name)) for name in (parent, fields.get("moved_from"), fields.get("origin"))}
    marks = required if isinstance(required, bytes) else b""
    size = PARENT_MARK_BYTES
    missing = {marks[at : at + size] for at in range(0, len(marks), size)} - completed
    if missing:
        text = f"{len(missing)} of {len(marks) // size} jobs that must have completed are not shown to have"
        raise BadSignature(f"parents: {text}; their endings are gone or forged.", what="parents")
