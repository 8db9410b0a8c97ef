"""`AsyncClient`: all that a client of a fleet can do without a worker."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from jobfleet.client._async.events import AsyncEvents
from jobfleet.client._async.inspect import AsyncInspect
from jobfleet.client._async.operate import AsyncOperate
from jobfleet.handle._async.handle import AsyncJobHandle
from jobfleet.model import Job

if TYPE_CHECKING:
    from jobfleet.client._async.cron import AsyncCronEntries
    from jobfleet.client._async.flows import AsyncFlows
    from jobfleet.client._async.limits import AsyncLimits


class AsyncClient(AsyncEvents, AsyncOperate, AsyncInspect):
    """All that a client of a fleet can do without a worker."""

    async def handle_of(self, job: Job) -> AsyncJobHandle[Any]:
        """Put a job into the fleet; return a handle. Raises as `enqueue`."""
        return AsyncJobHandle(self, await self.submit(job))

    @property
    def flows(self) -> AsyncFlows:
        """Jobs that wait for one another: ``await fleet.flows.enqueue(flow)``, and the verbs about them."""
        from jobfleet.client._async.flows import AsyncFlows

        return AsyncFlows(self.context, self._do)

    @property
    def cron(self) -> AsyncCronEntries:
        """The recurring jobs: ``await fleet.cron()`` lists them, ``await fleet.cron.add(…)`` adds one."""
        from jobfleet.client._async.cron import AsyncCronEntries  # croniter is for those who use it

        return AsyncCronEntries(self.context, self._do)

    @property
    def limits(self) -> AsyncLimits:
        """What queues and groups may do: ``await fleet.limits()`` lists it, ``await fleet.limits.set(…)`` sets it."""
        from jobfleet.client._async.limits import AsyncLimits

        return AsyncLimits(self.context, self._do)
