"""Builds the parts of a child's engine, in the order in which they need each other."""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

from jobfleet.codec.values import limits_of
from jobfleet.config import JobConfig
from jobfleet.operations.fleet_context import FleetContext
from jobfleet.operations.operation import drive
from jobfleet.operations.payloads import checked_store
from jobfleet.services.confirmations import Confirmations
from jobfleet.store.aio import AsyncStore
from jobfleet.store.keys import Keyspace
from jobfleet.worker.child.cancellation import Cancellations
from jobfleet.worker.child.claim_ahead import ClaimAhead
from jobfleet.worker.child.claimer import Claimer
from jobfleet.worker.child.gating.gates import ChildGates
from jobfleet.worker.child.holding import HeldRuns
from jobfleet.worker.child.routing import Router
from jobfleet.worker.executors.all import add_quarantine, executors
from jobfleet.worker.ipc.lease_board import LeaseBoard
from jobfleet.worker.run.completer import Completers
from jobfleet.worker.run.conclusion import Conclusions
from jobfleet.worker.run.events import RunEvents
from jobfleet.worker.run.executor import Executor
from jobfleet.worker.run.handlers import Handlers
from jobfleet.worker.run.inputs.parents import Parents
from jobfleet.worker.run.inputs.resources import Resources
from jobfleet.worker.run.middleware import MiddlewareChain
from jobfleet.worker.run.oom_move import OomMover
from jobfleet.worker.run.run import Key, Run
from jobfleet.worker.run.runner import Runner
from jobfleet.worker.run.stop_ladder import StopLadder
from jobfleet.worker.run.writes import event_log
from jobfleet.worker.run.writes.stored_results import StoredResults
from jobfleet.worker.run.writes.writer import RunWriter

log = logging.getLogger("jobfleet.worker")


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
    router = Router(store, keys, gone_us=round(config.gone_after * 1e6), handlers=handlers, events=events)
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
        job_level=event_log.level_of_jobs(config),
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
