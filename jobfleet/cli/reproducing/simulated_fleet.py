"""Fleets whose enqueues are printed: the default fleet of code that `jobfleet reproduce` runs."""

from __future__ import annotations

import asyncio
from collections.abc import Iterable
from itertools import islice
from typing import Self, TypeVar

from jobfleet.cli.reproducing.simulation import (
    simulated,
    simulated_flow,
    simulated_one_of_many,
    simulated_value,
)
from jobfleet.client._async.connection import AsyncReceiptsBase
from jobfleet.client._async.endings import AsyncEndings
from jobfleet.client._async.flows import AsyncFlows
from jobfleet.client._async.mapped import AsyncMapped
from jobfleet.client._sync.connection import ReceiptsBase
from jobfleet.client._sync.endings import Endings
from jobfleet.client._sync.flows import Flows
from jobfleet.client._sync.mapped import Mapped
from jobfleet.client.base import check_many
from jobfleet.fleet.aio import AsyncFleet, closing_with_loop
from jobfleet.fleet.sync import Fleet
from jobfleet.model import Job, Receipt
from jobfleet.model.flow import Flow
from jobfleet.operations.fleet_context import FleetContext
from jobfleet.operations.flows.info import FlowInfo

T = TypeVar("T")


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
        for receipt in self._answers:
            return receipt
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
