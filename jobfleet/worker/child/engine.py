"""A child's machinery: claimer, runner, finishers and board, put together.

`child.py` runs it in a process of its own, `inside.py` in the caller's.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Iterable, Sequence
from contextlib import suppress

from jobfleet.clock import boottime, monotonic
from jobfleet.codec import Limits
from jobfleet.config import JobConfig
from jobfleet.metrics.tally import Tally
from jobfleet.model import split_id
from jobfleet.operations.fleet_context import FleetContext
from jobfleet.services.relay import Relay
from jobfleet.services.unblocker import Unblocker
from jobfleet.services.unreadable import Unreadables
from jobfleet.store.aio import AsyncStore
from jobfleet.store.calls.control import stop
from jobfleet.store.calls.settle import Item
from jobfleet.store.keys import Keyspace, Lane
from jobfleet.store.records import Claimed
from jobfleet.suspicion import NO_SUSPICION, suspicion_of
from jobfleet.worker.child import paused_functions
from jobfleet.worker.child.cancellation import Cancellations
from jobfleet.worker.child.claimer import Claimer
from jobfleet.worker.child.holding import HeldRuns
from jobfleet.worker.child.routing import Router
from jobfleet.worker.executors.all import add_wards, executors
from jobfleet.worker.ipc.kinds import Kind
from jobfleet.worker.ipc.lease_board import LeaseBoard
from jobfleet.worker.run import event_log
from jobfleet.worker.run.completer import Completers
from jobfleet.worker.run.conclusion import Endings
from jobfleet.worker.run.handlers import Handlers
from jobfleet.worker.run.metrics import Counting
from jobfleet.worker.run.oom_move import OomMover
from jobfleet.worker.run.parents import Parents
from jobfleet.worker.run.resources import CLOSING, Resources
from jobfleet.worker.run.run import Key, Run
from jobfleet.worker.run.runner import Runner
from jobfleet.worker.run.stop_ladder import StopLadder, Verdict
from jobfleet.worker.run.stop_state import Stage
from jobfleet.worker.run.waits import any_of
from jobfleet.worker.run.writer import RunWriter

log = logging.getLogger("jobfleet.worker")
NOBODY = "-"
SENDING = 5.0
"""Seconds that the last endings may take; a supervisor waits no longer for its child either."""


class Engine:
    """Claims, runs and finishes jobs, on the running event loop.

    Args:
        config: The settings.
        handlers: The functions.
        child: The child's id; never used again after it.
        board: Where it posts what it holds.
        store: With endless patience.
        tally: Where it counts.
        modules: What an isolated process loads.
        with_wards: Whether suspects may run in processes apart.
        on_buried: Is told that the fleet believes this child dead.
        on_condemned: Is told of a run that only the end of this process can end; None where nobody can end it.
    """

    def __init__(
        self,
        config: JobConfig,
        handlers: Handlers,
        *,
        modules: Sequence[str] = (),
        with_wards: bool = False,
        child: str,
        board: LeaseBoard,
        store: AsyncStore,
        tally: Tally,
        on_buried: Callable[[], None] = lambda: None,
        on_condemned: Callable[[Run, Verdict], None] | None = None,
    ) -> None:
        self._config = config
        self._board = board
        self._counting = Counting(tally, self.now_us)
        self._unreadables = Unreadables(store, config, tally)
        self._runs: dict[Key, Run] = {}
        self._running = 0
        self._offset: tuple[int, float] = (0, 0.0)
        self._started_us = 0
        self._tells_all = event_log.tells_all()
        self._ended = asyncio.Event()
        self._is_draining = False
        self._slots = config.slots
        self.finished = 0
        """How many runs have been settled."""
        self._most: int | None = None
        self._on_spent: Callable[[], None] = lambda: None
        self._on_condemned = on_condemned
        self._resources = Resources()
        self._ladder = StopLadder(
            board,
            cancel_grace=config.cancel_grace,
            stop_grace=config.stop_grace,
            on_stage=self._note_stage,
            on_condemned=on_condemned and self._condemned,
        )
        self._handlers = handlers
        self._executors = executors(child, config, modules, handlers, board, self._ladder)
        wards = add_wards(self._executors, child, config, modules, board) if with_wards else None
        keys = Keyspace(config.namespace)
        parents = Parents(store, keys)
        limits = Limits(max_bytes=config.max_payload, max_depth=config.max_depth)
        self._mover = OomMover(store, FleetContext(config, handlers.registry), finish=self._finish)
        self.router = Router(store, keys, gone_us=round(config.gone_after * 1e6), knows=handlers.knows)
        self._runner = Runner(
            handlers,
            self._executors,
            self._ladder,
            resources=self._resources,
            child=child,
            limits=limits,
            hard_grace=config.hard_grace,
            endings=Endings(config, child=child, limits=limits, now_us=self.now_us),
            finish=self._finish,
            move=self._mover.move,
            parents=lambda run: parents(run.lane, run.id),
            judge=self.router.judge,
            on_returned=self._returned,
        )
        self._claimer = Claimer(
            store,
            config,
            child=child,
            free=self._free,
            admit=self._admit,
            on_buried=on_buried,
            leave=self.router.leave,
        )
        self.router.on_change = self._claimer.relearn
        self._held_runs = HeldRuns(
            patience=config.renewal,
            start=self._start_now,
            give_back=self._runner.abandon,
            changed=self._claimer.changed,
            held=self._runs.__len__,
            wards=wards,
        )
        self._stopper = Cancellations(
            self._runs,
            self._ladder,
            self._held_runs,
            abandon=self._runner.abandon,
            clear=self._clear,
            changed=self._claimer.changed,
        )
        self._run_writer = RunWriter(
            store,
            config,
            ladder=self._ladder,
            on_lost=self._stopper.lost,
            on_cancel=lambda run: self.cancel(run.key, NOBODY),
            registry=handlers.registry,
        )
        self._teller = Unblocker(Relay(store, keys, config, tally), self._told)
        self._completers = Completers(
            child,
            store,
            progress_ttl_ms=self._run_writer.progress_ms,
            on_settled=self._settled,
            on_watched=self._teller.tell,
        )

    @property
    def running(self) -> int:
        """How many jobs run, or are about to."""
        return self._running + len(self._held_runs)

    @property
    def pulse(self) -> float:
        """When it last claimed, waited for work, or could not because it is full or told not to (boot-time clock)."""
        return boottime() if self._is_draining or self._free() <= 0 else self._claimer.pulse

    @property
    def taken(self) -> int:
        """How many jobs were taken so far."""
        return self.finished + len(self._runs)

    @property
    def is_idle(self) -> bool:
        """Whether nothing runs, nothing is on its way, and the last claims brought nothing."""
        return not self._runs and self._claimer.is_empty and not self._teller.is_busy

    def now_us(self) -> int:
        """Redis's time, as far as this child knows it: the last claim's, and what went by since."""
        at, since = self._offset
        return at + round((monotonic() - since) * 1e6)

    def start(self, lanes: Sequence[Lane]) -> None:
        """Begin to serve these lanes, the first first."""
        self._claimer.serve(lanes)
        self._claimer.start()

    def serve(self, lanes: Sequence[Lane]) -> None:
        """Serve these lanes from now on."""
        self._claimer.serve(lanes)

    def be(self, kind: Kind) -> None:
        """Be of a kind from now on: what it knows is claimed here, and others leave it to those of this kind."""
        self._claimer.be(kind.id)
        self.router.be(kind)

    def limit(self, most: int | None, *, on_spent: Callable[[], None]) -> None:
        """Take `most` jobs in all, None without end; `on_spent` is told when the last one is taken."""
        self._most, self._on_spent = most, on_spent

    def _free(self) -> int:
        """How many more jobs may be claimed: none beside a suspect that runs alone, or when this process is to end."""
        if self._held_runs.is_shut or self._is_draining or self._ladder.condemned:
            return 0
        free = min(self._slots - self._running - len(self._held_runs), self._board.room)
        return free if self._most is None else min(free, self._most - self.taken)

    def _admit(self, lane: Lane, claimed: Claimed, until: float) -> None:
        self._offset = (claimed.now, monotonic())
        self._started_us = claimed.now
        if claimed.unreadable:
            self._unreadables.begin(lane, claimed.unreadable)
        fresh = boottime() < until
        for grant in claimed.grants:
            run = Run(lane, grant, self._board.post(grant.id, grant.token), until, self._run_writer)
            self._runs[run.key] = run
            if claimed.functions and (item := paused_functions.withheld(grant, claimed)):
                self._put_away(run, item)
            elif grant.tries and (suspicion := suspicion_of(grant.tries)).is_suspect:
                run.suspicion, run.handler = suspicion, self._handlers.peek(grant.envelope)
                self._held_runs.keep_suspect(run)
            elif fresh:
                self._start(run)
            else:
                self._held_runs.keep_stale(run)
        if self._held_runs:
            self._held_runs.place()
        if self._most is not None and self.taken >= self._most:
            self._on_spent()

    def _put_away(self, run: Run, item: Item) -> None:
        run.ending.is_over = run.ending.is_requeued = True
        run.ending.item = item
        self.finished -= 1  # it was not taken, to speak of
        self._completers[run.lane].add(run, item)

    def _start(self, run: Run) -> None:
        self._board.started(run.lease.place)
        self._running += 1
        run.started_us = self._started_us
        self._runner.start(run)
        if self._tells_all:
            event_log.started(run)

    def _start_now(self, run: Run) -> None:
        self._started_us = self.now_us()
        self._start(run)

    def _returned(self, run: Run) -> None:
        self._board.returned(run.lease.place)
        self._running -= 1
        self._claimer.changed()

    def _finish(self, run: Run, item: Item | None) -> None:
        if item is None:
            self._clear(run)
            return
        run.ending.is_requeued = item.verb in ("retry", "release", "park", "withhold")
        if item.verb == "withhold":
            self.finished -= 1  # it was not taken, to speak of
        run.ending.item = item
        self._completers[run.lane].add(run, item, *self._run_writer.last(run, item))
        if self._tells_all:
            event_log.ended(run, item.verb, self.now_us() - run.started_us)

    def _settled(self, run: Run, letter: str) -> None:
        if run.ending.is_requeued or self._config.burst:  # an end may make room under a limit, too
            self._claimer.doubt(run.lane)
        if run.ending.moved_to:
            self._mover.settled(run, letter)
        if letter not in "sdc":
            event_log.lost(run, f"its late finish was refused ({letter})")
        if self._counting.is_on:
            self._counting.settled(run, letter)
        self._clear(run)

    def _told(self) -> None:
        if self._config.burst:  # a marker alone may come when this worker has gone
            self._claimer.doubt_all()

    def _clear(self, run: Run) -> None:
        self.finished += 1
        had_room = self._board.room
        if run.stop.has_limits:
            self._board.limit(run.lease.place, 0.0, 0.0)
        self._board.clear(run.lease.place)
        del self._runs[run.key]
        if run.stop.is_condemned:  # it has ended by itself, after all
            self._ladder.condemned.discard(run.key)
            self._claimer.changed()
        if run.suspicion is not NO_SUSPICION:
            self._held_runs.ended(run)
        if not self._runs:
            self._ended.set()
        elif self._held_runs:
            self._held_runs.place()
        if not had_room:
            self._claimer.changed()

    def renewed(self, keys: Iterable[Key], until: float) -> None:
        """Leases stand until then (boot-time clock)."""
        for key in keys:
            run = self._runs.get(key)
            if run is not None:
                run.lease.until = until
        self._held_runs.renewed()

    def lost(self, keys: Iterable[Key]) -> None:
        """Leases are lost: stop those runs, write nothing for them."""
        for key in keys:
            run = self._runs.get(key)
            if run is not None:
                self._stopper.lost(run)

    def cancel(self, key: Key, by: str) -> None:
        """Somebody asked for a running job to stop."""
        run = self._runs.get(key)
        if run is not None:
            self._stopper.cancel(run, by)

    def _note_stage(self, run: Run, stage: Stage) -> None:
        run.output.number += 1
        self._completers[run.lane].note(stop(run.lane, ((run.id, run.token, run.output.number, stage.name.lower()),)))

    def _condemned(self, run: Run, verdict: Verdict) -> None:
        self._claimer.recall()
        if self._on_condemned is not None:
            self._on_condemned(run, verdict)

    def attend(self, is_heard: bool) -> None:
        """Have no slots while the supervisor is not heard, since nobody would renew what is claimed."""
        self._slots = self._config.slots if is_heard else 0
        self._claimer.recall()
        self._claimer.changed()

    async def quiet(self) -> None:
        """Claim no more."""
        await self._claimer.quiet()

    def resume(self) -> None:
        """Claim again."""
        self._claimer.resume()

    async def drain(self, grace: float | None, *, hurry: asyncio.Event | None = None) -> None:
        """Claim no more, let jobs end for `grace` seconds, then give the rest back, uncounted.

        Args:
            grace: Seconds; None for as long as they take.
            hurry: Ends the grace early when it is set.
        """
        await self._claimer.quiet()
        self._is_draining = True
        self._held_runs.close()
        for executor in self._executors.values():
            executor.flush()
        await self._wait_ended(grace, hurry)
        await self._stopper.release(self._wait_ended)
        await self._mover.drained(SENDING)
        with suppress(TimeoutError):
            await asyncio.wait_for(self._run_writer.flush(), SENDING)
        await self._completers.drained(SENDING)
        await self._unreadables.drained(SENDING)
        await self._teller.drained(SENDING)
        await self._resources.close(CLOSING)
        for executor in self._executors.values():
            executor.close()

    async def _wait_ended(self, timeout: float | None, hurry: asyncio.Event | None) -> None:
        if self._runs:
            self._ended.clear()
            await any_of((self._ended, hurry), timeout)

    def count_starts(self) -> None:
        """Count the starts of what runs; of what starts and ends between two counts, the end tells."""
        self._counting.started(self._runs.values())

    def holds(self) -> list[str]:
        """The ids of what runs, for a dump."""
        return [f"{run.id} token={run.token} {split_id(run.id).queue}" for run in self._runs.values()]
