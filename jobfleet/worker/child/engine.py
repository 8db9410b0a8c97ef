"""The engine of a child: it claims, runs and settles jobs on the running event loop.

`child/main.py` runs it in a process of its own, and `in_process.py` in the calling process. It receives the events of
all runs (`RunEvents`). In the life of a plain run they come in this order: `admitted`, `returned`, `concluded`,
`settled`.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass

from jobfleet.clock import boottime, monotonic
from jobfleet.codec import header_or_empty
from jobfleet.codec.values import limits_of
from jobfleet.config import JobConfig
from jobfleet.metrics.tally import Tally
from jobfleet.operations.fleet_context import FleetContext
from jobfleet.operations.operation import drive
from jobfleet.operations.payloads import checked_store
from jobfleet.outcome import Unrunnable
from jobfleet.retry.tries import NO_SUSPICION, suspicion_of
from jobfleet.services.confirmations import Confirmations
from jobfleet.services.duties.relay import Relay, Unblocker
from jobfleet.services.duties.run_settler import Unreadables, worker_of
from jobfleet.store.aio import AsyncStore
from jobfleet.store.calls import settle
from jobfleet.store.calls.control import stop
from jobfleet.store.calls.settle import COMPLETED, REQUEUED, Completion, Item
from jobfleet.store.keys import Keyspace, Lane
from jobfleet.store.records import Claimed, Grant
from jobfleet.worker.child.claimer import Claimer
from jobfleet.worker.child.gates import ChildGates
from jobfleet.worker.child.holding import Cancellations, ClaimAhead, HeldRuns
from jobfleet.worker.child.routing import ParkedWarnings, Router
from jobfleet.worker.executors.batch import BatchExecutor, warn_narrow
from jobfleet.worker.executors.local import local_executors
from jobfleet.worker.executors.process import ProcessExecutor
from jobfleet.worker.executors.quarantine import QuarantineExecutor
from jobfleet.worker.ipc.lease_board import LeaseBoard
from jobfleet.worker.ipc.protocol import Kind
from jobfleet.worker.run import telemetry
from jobfleet.worker.run.conclusion import Completers, Conclusions
from jobfleet.worker.run.endings import OomMover, StoredResults
from jobfleet.worker.run.handlers import Handlers
from jobfleet.worker.run.interfaces import Executor, RunEvents, Verdict
from jobfleet.worker.run.middleware import MiddlewareChain
from jobfleet.worker.run.resources import CLOSING, Resources
from jobfleet.worker.run.run import Key, Run, Stage
from jobfleet.worker.run.runner import Parents, Runner
from jobfleet.worker.run.stop_ladder import StopLadder
from jobfleet.worker.run.telemetry import Counting, RunCounts
from jobfleet.worker.run.writer import RunWriter

log = logging.getLogger("jobfleet.worker")

UNKNOWN_USER = "-"
SENDING = 5.0
"""Seconds that the last endings may take; a supervisor does not wait longer for its child either."""


class Engine(RunEvents):
    """Claims, runs and settles jobs.

    Args:
        config: The settings.
        handlers: The functions.
        child: The child's id. It is never used again.
        board: Where the child posts the jobs that it holds.
        store: The connection, with endless patience.
        tally: Where the child counts.
        modules: What an isolated process loads.
        with_quarantine: Whether suspects may run in quarantine processes.
        on_buried: Called when the fleet believes that this child is dead.
        on_condemned: Called with a run that only the end of this process can end; None where nothing can end it.
        on_lost: Called with the id and the token of a run that has lost its lease.
        on_stale: Called when claimed jobs wait for a renewal of their leases, because their claim was answered late.

    Attributes:
        router: Knows which functions other workers know.
        runs: Counts the runs for the samples; None if they are off.
        finished: How many runs have been settled.
    """

    def __init__(
        self,
        config: JobConfig,
        handlers: Handlers,
        *,
        modules: Sequence[str] = (),
        with_quarantine: bool = False,
        child: str,
        board: LeaseBoard,
        store: AsyncStore,
        tally: Tally,
        on_buried: Callable[[], None] = lambda: None,
        on_condemned: Callable[[Run, Verdict], None] | None = None,
        on_lost: Callable[[Key], None] = lambda _: None,
        on_stale: Callable[[], None] = lambda: None,
    ) -> None:
        self._config, self._is_burst, self._slots = config, config.burst, config.slots
        self._handlers, self._board = handlers, board
        self._on_buried, self._on_condemned, self._on_lost, self._on_stale = on_buried, on_condemned, on_lost, on_stale
        self._runs: dict[Key, Run] = {}
        self._running = self._started_us = self.finished = 0
        self._max_jobs: int | None = None
        self._on_spent: Callable[[], None] = lambda: None
        self._clock_offset: tuple[int, float] = (0, 0.0)
        self._is_draining, self._ended = False, asyncio.Event()
        self._job_level = telemetry.level_of_jobs(config)
        self._counting = Counting(tally, self.now_us)
        self.runs = RunCounts(self._runs.values, self.now_us) if config.samples else None
        self._unreadables = Unreadables(store, config, tally)
        relay = Relay(store, Keyspace.of(config), config, tally)
        self._unblocker = Unblocker(relay, self._dependants_unblocked)
        parts = build(
            config,
            handlers,
            child=child,
            board=board,
            store=store,
            modules=modules,
            runs=self._runs,
            events=self,
            now_us=self.now_us,
            free=self._free,
            may_run=self._may_run,
            with_quarantine=with_quarantine,
            can_end_process=on_condemned is not None,
        )
        self.router, self._gates = parts.router, parts.gates
        self._parked_warnings = ParkedWarnings(store, wait=config.beat, grace=config.unknown_grace)
        self._claimer, self._held_runs, self._runner = parts.claimer, parts.held_runs, parts.runner
        self._ahead, self._waiting = self._held_runs.ahead, self._held_runs.ahead.waiting
        self._ladder, self._cancellations = parts.ladder, parts.cancellations
        self._conclusions, self._completers, self._mover = parts.conclusions, parts.completers, parts.mover
        self._run_writer, self._executors, self._resources = parts.run_writer, parts.executors, parts.resources

    # --- what the child's main program asks and tells ------------------------------------------
    @property
    def running(self) -> int:
        """How many jobs run, or are about to."""
        return self._running + self._held_runs.count

    @property
    def pulse(self) -> float:
        """When the child last claimed or waited for jobs (boot-time clock); now, when it is full or may not claim."""
        return boottime() if self._is_draining or self._free() <= 0 else self._claimer.pulse

    @property
    def taken(self) -> int:
        """How many jobs were taken so far."""
        return self.finished + len(self._runs)

    @property
    def is_idle(self) -> bool:
        """Whether nothing runs, nothing is in flight, and the last claims brought nothing."""
        return not self._runs and self._claimer.is_empty and not self._unblocker.is_busy

    def now_us(self) -> int:
        """Redis's time in µs: the time of the last claim, plus the time since then."""
        at, since = self._clock_offset
        return at + round((monotonic() - since) * 1e6)

    def start(self, lanes: Sequence[Lane]) -> None:
        """Start to serve these lanes, in this order."""
        self._claimer.serve(lanes)
        self._claimer.start()

    def serve(self, lanes: Sequence[Lane]) -> None:
        """Serve these lanes from now on."""
        self._claimer.serve(lanes)

    def set_kind(self, kind: Kind) -> None:
        """Set what this child knows and serves. Other children leave such jobs to children of this kind."""
        self._claimer.set_kind(kind.id)
        self.router.set_kind(kind)

    def limit(self, max_jobs: int | None, *, on_spent: Callable[[], None]) -> None:
        """Take at most `max_jobs` jobs, None for no limit; `on_spent` is called when the last one is taken."""
        self._max_jobs, self._on_spent = max_jobs, on_spent
        if max_jobs is not None:
            self._ahead.forbid()

    def _free(self) -> int:
        """How many more jobs may be claimed: none beside a suspect that runs alone, or when this process is to end."""
        held, ahead = self._held_runs, self._ahead
        if held.is_closed or self._is_draining or self._ladder.condemned or not self._slots:
            return 0
        free = self._slots - self._running - held.count + ahead.extra - len(self._waiting)
        free = min(free, self._board.room) if free >= ahead.least else 0
        return free if self._max_jobs is None else min(free, self._max_jobs - self.taken)

    def _may_run(self) -> bool:
        """Whether a slot is free for a job that waits for one."""
        return self._running < self._slots and not self._is_draining and not self._ladder.condemned

    # --- the life of a run, in order -------------------------------------------------------------

    def admitted(self, lane: Lane, claimed: Claimed, until: float) -> None:
        """Post claimed jobs on the board and start them, or hold those that may not start yet."""
        self._clock_offset = (claimed.now, monotonic())
        self._started_us = claimed.now
        if claimed.unreadable:
            self._unreadables.begin(lane, claimed.unreadable)
        is_in_time, was_idle = boottime() < until, not self._running
        fits = self._running + len(claimed.grants) <= self._config.slots and not self._waiting
        for grant in claimed.grants:
            run = Run(lane, grant, self._board.post(grant.id, grant.token), until, self._run_writer)
            self._runs[run.key] = run
            if claimed.functions and (item := withheld(grant, claimed)):
                self._conclusions.put_back(run, item)
            elif grant.tries and (suspicion := suspicion_of(grant.tries)).is_suspect:
                run.suspicion, run.handler = suspicion, self._handlers.peek(grant.envelope)
                self._held_runs.hold_suspect(run)
            elif is_in_time:
                self._start(run) if fits or (self._may_run() and not self._waiting) else self._ahead.hold(run)
            else:
                self._held_runs.hold_stale(run)
        if (is_full := self._running >= self._slots or bool(self._waiting)) or self._ahead.streak:
            self._ahead.admitted(was_idle=was_idle, is_full=is_full)
        if self._held_runs.count:
            self._held_runs.start_suspects()
        if claimed.grants and not is_in_time:
            self._on_stale()
        if self._max_jobs is not None and self.taken >= self._max_jobs:
            self._on_spent()

    def _start(self, run: Run) -> None:
        self._board.started(run.lease.place)
        self._running += 1
        run.started_us = self._started_us
        self._runner.start(run)

    def may_start(self, run: Run) -> None:
        """Start a run that was held."""
        self._started_us = self.now_us()
        self._start(run)

    def code_ended(self, run: Run) -> None:
        """Show the supervisor that a run cannot be stopped any more: only its hooks run."""
        self._board.ended(run.lease.place)

    def returned(self, run: Run) -> None:
        """Free the slot of a run whose code has ended."""
        self._board.returned(run.lease.place)
        self._running -= 1
        if self._waiting:
            self._ahead.slot_freed(of_process=run.handler is not None and run.handler.where == "process")
        self._claimer.changed()

    def concluded(self, run: Run) -> None:
        """Note when a run has ended. A job that is put back without a start was not taken."""
        item = run.ending.item
        if item is not None and item.verb not in COMPLETED:  # a completion has its duration
            run.ending.ended_us = self.now_us()
            if item.verb == "withhold":
                self.finished -= 1

    def settled(self, run: Run, letter: str) -> None:
        """Log and count a run that Redis has settled, and forget it."""
        item = run.ending.item
        try:
            if item.__class__ is not Completion or self._is_burst:
                self._settled_otherwise(run, item, letter)
            if letter not in "sdc":
                telemetry.log_lost(run, f"its late finish was refused ({letter})")
                self._on_lost(run.key)
            elif self._job_level is not None and run.started_us:
                telemetry.log_ended(run, self._job_level, item, letter)
            if self._counting.is_on:
                self._counting.settled(run, letter)
        finally:
            self.dropped(run)

    def _settled_otherwise(self, run: Run, item: Item | None, letter: str) -> None:
        if self._is_burst or (item is not None and item.verb in REQUEUED):
            self._claimer.doubt(run.lane)  # in a burst, any ending may make room under a limit
        if item is not None and item.verb == "move":
            self._mover.settled(run, item, letter)

    def answered(self, runs: Sequence[Run], items: Sequence[Item], letters: str) -> None:
        """Count runs for the samples."""
        if self.runs is not None:
            self.runs.settled(runs, items, letters)

    def parked(self, run: Run, outcome: Unrunnable) -> None:
        """Log that no worker can run a job yet."""
        self._parked_warnings.parked(run, outcome)

    def dropped(self, run: Run) -> None:
        """Forget a run, and free its place on the board."""
        self.finished += 1
        if run.stop.has_limits:
            self._board.limit(run.lease.place, 0.0, 0.0)
        was_full = self._board.clear(run.lease.place)
        del self._runs[run.key]
        if run.stop.is_condemned:  # it has ended by itself
            self._ladder.condemned.discard(run.key)
            self._claimer.changed()
        if run.suspicion is not NO_SUSPICION:
            self._held_runs.ended(run)
        if not self._runs:
            self._ended.set()
            if self._is_burst:  # its jobs may have enqueued others, and their markers may still be on the way
                self._claimer.doubt_all()
        elif self._held_runs.count:
            self._held_runs.start_suspects()
        if was_full:
            self._claimer.changed()

    # --- other events ----------------------------------------------------------------------------

    def renewed(self, keys: Iterable[Key], until: float) -> None:
        """The leases of some runs were renewed until then (boot-time clock)."""
        for key in keys:
            run = self._runs.get(key)
            if run is not None:
                run.lease.until = until
        self._held_runs.leases_renewed()

    async def leases_gone(self, keys: Collection[Key]) -> None:
        """The leases of some runs are gone. This returns when `on_lost` has been called for each lost run."""
        await self._cancellations.leases_gone(keys, self.lost)

    def cancel(self, key: Key, by: str) -> None:
        """Cancel a running job."""
        run = self._runs.get(key)
        if run is not None:
            self._cancellations.cancel(run, by)

    def lost(self, run: Run) -> None:
        """Stop a run whose lease is lost."""
        if self._cancellations.lost(run):
            self._on_lost(run.key)

    def cancel_requested(self, run: Run) -> None:
        """Cancel a run that has a mark for cancellation in Redis."""
        self.cancel(run.key, UNKNOWN_USER)

    def stage_reached(self, run: Run, stage: Stage) -> None:
        """Write the stage of a cancelled run to Redis."""
        row = (run.id, run.token, run.output.next_number(), stage.name.lower())
        self._completers[run.lane].note(stop(run.lane, (row,)))

    def condemned(self, run: Run, verdict: Verdict) -> None:
        """Ask for the end of this process."""
        self._ahead.give_back()
        self._claimer.recall()
        if self._on_condemned is not None:
            self._on_condemned(run, verdict)

    def room_changed(self) -> None:
        """Claim again, if there is room."""
        self._claimer.changed()

    def routes_changed(self) -> None:
        """Claim again: the functions that are left to other workers have changed."""
        self._claimer.relearn()

    def dependants_ready(self, lane: Lane) -> None:
        """Unblock the jobs that wait for jobs of a lane."""
        self._unblocker.tell(lane)

    def _dependants_unblocked(self) -> None:
        if self._is_burst:  # their markers may arrive when this worker has gone
            self._claimer.doubt_all()

    def buried(self) -> None:
        """The fleet believes that this child is dead."""
        self._on_buried()

    def set_attended(self, is_attended: bool) -> None:
        """Claim nothing while the supervisor is silent, because the leases would not be renewed."""
        self._slots = self._config.slots if is_attended else 0
        self._claimer.recall()
        self._claimer.changed()

    # --- the end of the child --------------------------------------------------------------------

    async def quiet(self) -> None:
        """Stop claiming."""
        await self._claimer.quiet()

    def resume(self) -> None:
        """Claim again."""
        self._claimer.resume()

    async def drain(self, grace: float | None, *, hurry: asyncio.Event | None = None) -> None:
        """Stop claiming, let jobs run for `grace` seconds, then give the rest back without counting an attempt.

        Args:
            grace: Seconds; None for no limit.
            hurry: Ends the grace early when it is set.
        """
        self._run_writer.is_draining = True  # first of all, so that running jobs have all the time there is
        await self._claimer.quiet()
        self._is_draining = True
        self._held_runs.close()
        for executor in self._executors.values():
            executor.flush()
        await self._wait_ended(grace, hurry)
        await self._cancellations.release(self._wait_ended)
        await self._mover.drained(SENDING)
        with suppress(TimeoutError):
            async with asyncio.timeout(SENDING):
                await self._run_writer.flush()
        await self._gates.close()
        await self._completers.drained(SENDING)
        await self._unreadables.drained(SENDING)
        await self._unblocker.drained(SENDING)
        await self._parked_warnings.close()
        await self._resources.close(CLOSING)
        for executor in self._executors.values():
            executor.close()

    async def _wait_ended(self, timeout: float | None, hurry: asyncio.Event | None) -> None:
        if self._runs:
            self._ended.clear()
            await any_of((self._ended, hurry), timeout)

    def count_starts(self) -> None:
        """Count the starts of running jobs. A job that starts and ends between two calls is counted at its end."""
        self._counting.started(self._runs.values())


# Builds the parts of a child's engine, in the order in which they need each other.


@dataclass(slots=True)
class Parts:
    """The parts of an engine. Each is described where its class is defined."""

    resources: Resources
    ladder: StopLadder
    run_writer: RunWriter
    completers: Completers
    executors: Mapping[str, Executor]
    mover: OomMover
    conclusions: Conclusions
    router: Router
    gates: ChildGates
    runner: Runner
    held_runs: HeldRuns
    cancellations: Cancellations
    claimer: Claimer


def build(
    config: JobConfig,
    handlers: Handlers,
    *,
    child: str,
    board: LeaseBoard,
    store: AsyncStore,
    modules: Sequence[str],
    runs: Mapping[Key, Run],
    events: RunEvents,
    now_us: Callable[[], int],
    free: Callable[[], int],
    may_run: Callable[[], bool],
    with_quarantine: bool,
    can_end_process: bool,
) -> Parts:
    """Build all parts, on the running event loop.

    Args:
        config: The settings.
        handlers: The functions.
        child: The child's id.
        board: The child's lease board.
        store: The connection, with endless patience.
        modules: What isolated processes load.
        runs: The runs of the child.
        events: Receives the events of all runs.
        now_us: Returns Redis's time in µs.
        free: Returns how many more jobs may be claimed.
        may_run: Returns whether a slot is free for a job.
        with_quarantine: Whether suspects may run in quarantine processes.
        can_end_process: Whether this process may be ended because of one run.
    """
    keys = Keyspace.of(config)
    limits = limits_of(config)
    resources = Resources()
    ladder = StopLadder(
        board,
        cancel_grace=config.cancel_grace,
        stop_grace=config.stop_grace,
        events=events,
        can_end_process=can_end_process,
    )
    confirmations = Confirmations(store, config, log)
    run_writer = RunWriter(
        store, config, ladder=ladder, events=events, registry=handlers.registry, confirmations=confirmations
    )
    completers = Completers(
        child,
        store,
        progress_ttl_ms=run_writer.progress_ms,
        events=events,
        confirmations=confirmations,
    )
    places = executors(child, config, modules, handlers, board, ladder)
    quarantine = add_quarantine(places, child, config, modules, board) if with_quarantine else None
    middleware = MiddlewareChain(handlers.hooks, handlers.around, places, resources)
    context = FleetContext(config, handlers.registry)
    mover = OomMover(store, context)
    stored = StoredResults(
        context.payloads,
        lambda: drive(store, checked_store(context)),
        inline_max=context.inline_max,
        redis_max=config.max_payload,
    )
    conclusions = Conclusions(
        config,
        child=child,
        limits=limits,
        now_us=now_us,
        events=events,
        ladder=ladder,
        middleware=middleware,
        writer=run_writer,
        mover=mover,
        stored=stored,
        completers=completers,
    )
    gone_us = round(config.gone_after * 1e6)
    router = Router(store, keys, worker=worker_of(child), gone_us=gone_us, handlers=handlers, events=events)
    gates = ChildGates(store, keys, child=child, slots=config.slots, ladder=ladder, confirmations=confirmations)
    router.shares = gates.shares
    runner = Runner(
        handlers,
        places,
        ladder,
        middleware=middleware,
        conclusions=conclusions,
        parents=Parents(store, keys),
        routes=router,
        gates=gates,
        child=child,
        payloads=context.payloads,
        limits=limits,
        job_level=telemetry.level_of_jobs(config),
        hard_grace=config.hard_grace,
    )
    held_runs = HeldRuns(
        patience=config.renewal,
        runs=runs,
        conclusions=conclusions,
        events=events,
        quarantine=quarantine,
        # In a burst, any ending may make room under a limit.
        ahead=ClaimAhead(0 if config.burst else config.slots, may_run=may_run, conclusions=conclusions, events=events),
    )
    cancellations = Cancellations(runs, ladder, held_runs, conclusions=conclusions, events=events)
    claimer = Claimer(store, config, child=child, free=free, events=events, routes=router)

    def shares_changed(is_open: bool, has_more: bool) -> None:
        router.lists.clear()
        if is_open or has_more:
            claimer.relearn(is_whole=is_open)

    gates.on_change = shares_changed
    return Parts(
        resources=resources,
        ladder=ladder,
        run_writer=run_writer,
        completers=completers,
        executors=places,
        mover=mover,
        conclusions=conclusions,
        router=router,
        gates=gates,
        runner=runner,
        held_runs=held_runs,
        cancellations=cancellations,
        claimer=claimer,
    )


# All executors of a child, by the place where they run functions.


def executors(
    child: str, config: JobConfig, modules: Sequence[str], handlers: Handlers, board: LeaseBoard, ladder: StopLadder
) -> dict[str, Executor]:
    """Create the executors, on the running event loop.

    Args:
        child: The child they belong to.
        config: The settings.
        modules: What isolated processes load.
        handlers: The functions.
        board: The child's lease board.
        ladder: The child's stop ladder.
    """
    warn_narrow(handlers.batched, config.slots, lambda queue: not config.queues or queue in config.queues)
    made: dict[str, Executor] = {
        **local_executors(),
        "process": ProcessExecutor(child, config, modules, board, is_wanted=bool(handlers.isolated)),
    }
    made["batch"] = BatchExecutor(made, board, ladder, slots=config.slots, hard_grace=config.hard_grace)
    return made


def add_quarantine(
    made: dict[str, Executor], child: str, config: JobConfig, modules: Sequence[str], board: LeaseBoard
) -> QuarantineExecutor | None:
    """Add the executor of suspects under the name ``quarantine``. Returns None if the settings allow none.

    Args:
        made: The executors of the child.
        child: The child they belong to.
        config: The settings.
        modules: What the processes load.
        board: The child's lease board.
    """
    if not config.suspect_processes:
        return None
    quarantine = made["quarantine"] = QuarantineExecutor(child, config, modules, board)
    return quarantine


# Jobs of paused functions: they go back without a start, to a place that claims do not read.


def withheld(grant: Grant, claimed: Claimed) -> settle.Item | None:
    """What settles a job whose function is paused; None for a job that may start."""
    function = header_or_empty(grant.envelope).get("function")  # the runner reports a header that cannot be read
    if not isinstance(function, str) or function not in claimed.functions:
        return None
    log.debug("job.withheld job_id=%s function=%s it is paused", grant.id, function)
    return settle.withhold(grant.id, grant.token, due=grant.due, function=function)


async def any_of(events: Iterable[asyncio.Event | None], timeout: float | None) -> None:
    """Wait until one of the events is set, for at most `timeout` seconds. None is an event that is never set."""
    waits = [asyncio.ensure_future(event.wait()) for event in events if event is not None]
    await asyncio.wait(waits, timeout=timeout, return_when=asyncio.FIRST_COMPLETED)
    for wait in waits:
        wait.cancel()
