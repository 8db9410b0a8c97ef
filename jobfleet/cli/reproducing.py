"""Runs the code of a job in this process; what it would write or enqueue is printed."""

from __future__ import annotations

import asyncio
import math
from collections.abc import Coroutine, Iterable, Mapping, Sequence
from dataclasses import replace
from functools import partial
from itertools import islice
from typing import Any, NamedTuple, Self, TypeVar, cast

from jobfleet.cli.output import plain, say, to_json
from jobfleet.cli.view import jsonable
from jobfleet.client._async.connection import AsyncReceiptsBase
from jobfleet.client._async.endings import AsyncEndings, AsyncMapped
from jobfleet.client._async.flows import AsyncFlows
from jobfleet.client._sync.connection import ReceiptsBase
from jobfleet.client._sync.endings import Endings, Mapped
from jobfleet.client._sync.flows import Flows
from jobfleet.client.base import check_many
from jobfleet.codec import decode, encode, open_envelope
from jobfleet.codec.frames import OpenedEnvelope
from jobfleet.codec.values import limits_of
from jobfleet.config import JobConfig
from jobfleet.errors import EncodingError, InvalidJob, JobfleetError, JobNotFound
from jobfleet.fleet.aio import AsyncFleet, closing_with_loop
from jobfleet.fleet.sync import Fleet
from jobfleet.functions.batch import BatchItem
from jobfleet.functions.port import FlowAddition
from jobfleet.model import Job, JobStatus, Receipt
from jobfleet.model.flow import Flow, refuse_times
from jobfleet.operations.fleet_context import FleetContext
from jobfleet.operations.flows.dependencies import refuse_unique
from jobfleet.operations.flows.record import FlowInfo, FlowJob, labelled
from jobfleet.operations.jobs.prepare import Resolved, Submission, queue_of, receipt, resolve_in, submission_in
from jobfleet.operations.reproduction import ParentEnd
from jobfleet.store.keys import Keyspace, Lane
from jobfleet.store.records import Grant
from jobfleet.worker.executors.batch import dumped, loaded, results_of
from jobfleet.worker.executors.local import local_executors
from jobfleet.worker.run import hooks
from jobfleet.worker.run.context import context_of
from jobfleet.worker.run.handlers import Handler, Handlers
from jobfleet.worker.run.interfaces import Executor, OnEnd
from jobfleet.worker.run.middleware import MiddlewareChain
from jobfleet.worker.run.resources import Resources
from jobfleet.worker.run.run import Run, RunBackend, Stage
from jobfleet.worker.run.runner import at_version

CLOSING = 5.0
CHILD = "reproduce"


class Reproduced(NamedTuple):
    """How a local run ended.

    Attributes:
        value: What the function has returned.
        error: What it has raised; None if it returned.
        refusal: Why a worker would not have called the function; empty if it was called.
    """

    value: Any = None
    error: BaseException | None = None
    refusal: str = ""


class _BatchOfOne:
    """Calls a function that takes a list with the value of one job."""

    stages: tuple[Stage, ...] = ()

    def __init__(self, inner: Mapping[str, Executor]) -> None:
        self._inner = inner

    def start(self, run: Run, handler: Handler, args: list[Any], kwargs: dict[str, Any], on_end: OnEnd) -> None:
        """Call the handler's function with a list of one element."""
        function = handler.function
        if function.batch is None:
            raise TypeError(f"{function.name} runs no batches")
        element, resources = loaded(function, function.batch, args, kwargs)

        def ended(value: Any, error: BaseException | None) -> None:
            answer = element.answer if isinstance(element, BatchItem) else None
            if error is None:
                ((value, error),) = [answer] if answer else results_of(function.name, value, 1)
            if error is None:
                value, error = dumped(function, value)
            on_end(value, error)

        self._inner[function.run_in].start(run, handler, [[element]], resources, ended)

    def stop(self, run: Run, stage: Stage) -> None:
        """Nothing stops a local run but the end of the program."""

    def flush(self) -> None:
        """Nothing is gathered."""

    def close(self) -> None:
        """Nothing is idle."""


async def reproduce(
    config: JobConfig,
    handlers: Handlers,
    job_id: str,
    envelope: bytes,
    *,
    attempt: int,
    fence: int,
    steps: Mapping[str, bytes],
    parents: Sequence[ParentEnd],
) -> Reproduced:
    """Run the code of a job on the running event loop, or in a thread.

    Args:
        config: The settings.
        handlers: The functions.
        job_id: The job.
        envelope: Its envelope, with its arguments.
        attempt: The number of the attempt, for its context.
        fence: The fencing token, for its context.
        steps: The encoded results of its steps.
        parents: How the jobs ended that it has waited for.

    Raises:
        UnknownFunction: The handlers have no function of that name.
        EncodingError: The envelope cannot be read.
        StartHookFailed: An `on_start` hook has raised an exception.
    """
    limits = limits_of(config)
    grant = Grant(job_id, fence, 0, 0, envelope, "", "")
    run = LocalRun(Keyspace.of(config).lane_of(job_id), grant, steps)
    sealed = open_envelope(envelope, limits=limits)
    run.header, run.parents = sealed.header, parents
    run.handler = handler = handlers.get(sealed.header["function"])
    opened = at_version(run, handler, sealed, limits)
    if not isinstance(opened, OpenedEnvelope):
        return Reproduced(refusal=opened.reason)
    context = replace(context_of(run, CHILD, opened.args, opened.kwargs), attempt=attempt)
    executors = local_executors()
    executors["batch"] = _BatchOfOne(executors)
    resources = Resources()
    chain = MiddlewareChain(handlers.hooks, handlers.around, executors, resources)
    where = "async" if handler.function.is_coroutine else "thread"
    handler = replace(handler, where="batch" if handler.where == "batch" else where)
    ended: asyncio.Future[tuple[Any, BaseException | None]] = asyncio.get_running_loop().create_future()

    def on_end(value: Any, error: BaseException | None) -> None:
        ended.set_result((value, error))

    await hooks.start(handlers.hooks)
    run.executor = executors["async"]
    call = partial(chain.call, run, handler, context)
    executors["async"].start(run, replace(handler, call=call), [opened.args, opened.kwargs], {}, on_end)
    value, error = await ended
    await resources.close(CLOSING)
    await hooks.stop(handlers.hooks, CLOSING)
    if error is None:
        try:
            encode(value, limits=limits, what="result")
        except EncodingError as unencodable:
            error = unencodable
    return Reproduced(value, error)


T = TypeVar("T")
KINDS = {"s:": "step", "c:": "checkpoint", "u:": "undo of step", "t:": "token"}


class LocalRun(Run):
    """A run without a lease and without a worker.

    Args:
        lane: The lane of its queue.
        grant: The job, as a claim would return it.
        kept: The encoded results of the steps that earlier runs have stored.
    """

    def __init__(self, lane: Lane, grant: Grant, kept: Mapping[str, bytes]) -> None:
        super().__init__(lane, grant, 0, math.inf, cast("RunBackend", None))
        self._kept = dict(kept)
        self._loop = asyncio.get_running_loop()

    @property
    def is_draining(self) -> bool:
        """False: no worker stops."""
        return False

    def report(self, value: float, message: str, details: Mapping[str, object] | None) -> None:
        """Print a progress report."""
        text = f"progress {value:.0%} {plain(message)}".rstrip()
        say(text if details is None else f"{text} {to_json(jsonable(dict(details)))}")

    def extend(self, seconds: float) -> None:
        """Print that time limits would be extended; this run has none."""
        say(f"simulated: time limits extended by {seconds:g} s")

    def note(self, at_us: int, level: int, text: str) -> None:
        """Ignore a line of the log: the handlers of this process print it."""

    def emit(self, record: bytes) -> bool:
        """Print a chunk of the output."""
        say(f"chunk {plain(to_json(jsonable(decode(record, what='chunk'))))}")
        return True

    async def wait_for_room(self) -> None:
        """There is always room."""

    async def steps(self) -> Mapping[str, bytes]:
        """The stored results of the steps."""
        return dict(self._kept)

    async def keep(self, key: str, record: bytes) -> None:
        """Keep the result of a step in this process only."""
        self._kept[key] = record
        say(f"{KINDS.get(key[:2], 'step')} {key[2:]!r} has run here; its value is not stored")

    async def extend_flow(self, addition: FlowAddition) -> Sequence[str]:
        """Print which jobs would be added to the flow; return ids that no job has."""
        jobs = [node.job for node in addition.flow.nodes]
        say(f"simulated: {', '.join(plain(job.name) for job in jobs)} added to the flow")
        return [f"{job.queue or 'default'}.0.{job.suffix}" for job in jobs]

    async def acquire_lock(self, name: str, number: int, limit: int, timeout: float | None) -> int:
        """Print that a lock would be taken; other jobs may hold it."""
        del number, limit, timeout
        say(f"simulated: lock {name!r} taken, although others may hold it")
        return 1

    async def release_lock(self, name: str, number: int) -> None:
        """Nothing is held."""

    async def undo(self, job_id: str, names: Sequence[str]) -> Mapping[str, bytes]:
        """Print that steps of another job would be undone; none are."""
        del names
        say(f"simulated: the steps of {job_id} undone")
        return {}

    async def lease_confirmed(self) -> None:
        """Nothing has to be confirmed: there is no lease."""

    def block(self, coroutine: Coroutine[Any, Any, T]) -> T:
        """Run a coroutine on the event loop of the run, from the thread of its code."""
        return asyncio.run_coroutine_threadsafe(coroutine, self._loop).result()


# Enqueues that are prepared as always, and printed instead of sent.


class Prepared(NamedTuple):
    """A job as it would be sent.

    Attributes:
        job: The job, as the hooks before an enqueue have left it.
        function: The name of its function.
        sent: What would be sent.
    """

    job: Job
    function: str
    sent: Submission


def simulated(context: FleetContext, job: Job) -> Receipt:
    """Prepare a job as an enqueue does, and print its id.

    Raises:
        InvalidJob: An option is wrong, or the function does not accept the arguments.
        EncodingError: An argument cannot be encoded.
    """
    prepared = _prepared(context, job)
    _tell(prepared)
    return receipt(prepared.sent, created=True)


def simulated_one_of_many(context: FleetContext, job: Job) -> Receipt:
    """Like `simulated`; the receipt of a job that is refused has the error.

    Raises:
        InvalidJob: It is not a `Job`.
    """
    try:
        return simulated(context, job)
    except JobfleetError as error:
        if not isinstance(job, Job):  # a receipt is for a job
            raise
        return Receipt(job.suffix, created=False, status=JobStatus.QUEUED, error=error)


def simulated_value(context: FleetContext, job: Job) -> Exception:
    """Like `simulated`; return the error that `map` has in the place of a value."""
    answer = simulated_one_of_many(context, job)
    return answer.error or JobNotFound(answer.id, f"{answer.id} was simulated: nobody runs it, so it has no value.")


def simulated_flow(context: FleetContext, flow: Flow) -> FlowInfo:
    """Prepare the jobs of a flow, and print their ids.

    Raises:
        InvalidJob: The flow is empty, too large, or has a cycle, or one of its jobs is wrong. Nothing is printed.
        EncodingError: An argument cannot be encoded. Nothing is printed.
    """
    if not isinstance(flow, Flow):
        raise InvalidJob(f"flow is {flow!r:.100}; give a Flow.", field="flow")
    order = flow.order()
    places = {node.number: place for place, node in enumerate(order)}
    made = [_prepared(context, node.job) for node in order]
    rows = []
    for node, (job, function, sent) in zip(order, made, strict=True):
        refuse_unique(job, "jobs of a flow")
        refuse_times(job)
        links = flow.links.get(node.number, {})
        parents = tuple(places[number] for number in links)
        otherwise = tuple(link.otherwise for link in links.values())
        rows.append(FlowJob(sent.entry.id, job.name, function, parents, otherwise, sent.entry.band))
    for one in made:
        _tell(one)
    return FlowInfo(flow.id, flow.name, None, tuple(labelled(rows, [one.job for one in made])), is_read=False)


def _prepared(context: FleetContext, job: Job) -> Prepared:
    job = context.apply_hooks(job)
    function = resolve_in(context, job) or Resolved(str(job.function), {})
    context.remember(queue_of(job, function), (1, 1))  # nobody reads how many lanes it has
    return Prepared(job, function.name, submission_in(context, job, function))


def _tell(prepared: Prepared) -> None:
    say(f"simulated: {plain(prepared.function)} enqueued as {prepared.sent.entry.id}")


class _Receipts(ReceiptsBase):
    """The receipts of `enqueue_many`; iterating them prints what would be enqueued."""

    def __init__(self, context: FleetContext, jobs: Iterable[Job], chunk: int) -> None:
        check_many(jobs, chunk)
        self._answers = (simulated_one_of_many(context, job) for job in jobs)
        self._touched = False

    def __next__(self) -> Receipt:
        self._touch()
        return next(self._answers)


class _AsyncReceipts(AsyncReceiptsBase):
    """As `_Receipts`, for code that awaits."""

    def __init__(self, context: FleetContext, jobs: Iterable[Job], chunk: int) -> None:
        check_many(jobs, chunk)
        self._answers = (simulated_one_of_many(context, job) for job in jobs)
        self._touched = False

    async def __anext__(self) -> Receipt:
        self._touch()
        for made in self._answers:
            return made
        raise StopAsyncIteration


class _Mapped(Mapped[T]):
    """The values of `map`. Nobody runs its jobs, so each has an error in its place."""

    def _refill(self, endings: Endings) -> None:  # noqa: ARG002 - nothing ends
        jobs = islice(self._jobs, self._window - len(self._order))
        self._order.extend(simulated_value(self._client.context, job) for job in jobs)


class _AsyncMapped(AsyncMapped[T]):
    """As `_Mapped`, for code that awaits."""

    async def _refill(self, endings: AsyncEndings) -> None:  # noqa: ARG002 - nothing ends
        jobs = islice(self._jobs, self._window - len(self._order))
        self._order.extend(simulated_value(self._client.context, job) for job in jobs)


class _Flows(Flows):
    """The flows of a `SimulatedFleet`."""

    def enqueue(self, flow: Flow) -> FlowInfo:
        """Print what would be enqueued."""
        return simulated_flow(self._context, flow)


class _AsyncFlows(AsyncFlows):
    """The flows of a `SimulatedAsyncFleet`."""

    async def enqueue(self, flow: Flow) -> FlowInfo:
        """Print what would be enqueued."""
        return simulated_flow(self._context, flow)


class SimulatedFleet(Fleet):
    """A fleet whose enqueues are printed."""

    _mapped = _Mapped
    awaited: dict[asyncio.AbstractEventLoop, tuple[SimulatedAsyncFleet, object]]

    @classmethod
    def over(cls, fleet: Fleet) -> Self:
        """A client with another fleet's settings, functions and server."""
        made = cls.__new__(cls)
        cls._set_up(made, fleet.context.config, fleet.context.registry, target=fleet.store.at)
        made.awaited = {}
        return made

    def submit(self, job: Job) -> Receipt:
        """Print what would be enqueued."""
        return simulated(self.context, job)

    def enqueue_many(self, jobs: Iterable[Job], *, chunk: int = 1000) -> _Receipts:
        """Print what would be enqueued."""
        return _Receipts(self.context, jobs, chunk)

    @property
    def flows(self) -> Flows:
        """Flows, whose enqueues are printed."""
        return _Flows(self, self._do)

    def for_running_loop(self) -> AsyncFleet:
        """This fleet for the running event loop."""
        loop = asyncio.get_running_loop()
        if loop not in self.awaited:
            made = SimulatedAsyncFleet.sharing(self)
            self.awaited[loop] = made, closing_with_loop(made)
        return self.awaited[loop][0]


class SimulatedAsyncFleet(AsyncFleet):
    """An awaited fleet whose enqueues are printed."""

    _mapped = _AsyncMapped

    async def submit(self, job: Job) -> Receipt:
        """Print what would be enqueued."""
        return simulated(self.context, job)

    def enqueue_many(self, jobs: Iterable[Job], *, chunk: int = 1000) -> _AsyncReceipts:
        """Print what would be enqueued."""
        return _AsyncReceipts(self.context, jobs, chunk)

    @property
    def flows(self) -> AsyncFlows:
        """Flows, whose enqueues are printed."""
        return _AsyncFlows(self, self._do)
