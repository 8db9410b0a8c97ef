"""`AsyncClient`: all operations of a client; it has no worker."""

from __future__ import annotations

from typing import TYPE_CHECKING, TypeVar

from jobfleet.client._async.dead import AsyncDead
from jobfleet.client._async.events import AsyncEvents
from jobfleet.client._async.inspect import AsyncInspect
from jobfleet.client._async.operate import AsyncOperate
from jobfleet.handle._async.handle import AsyncJobHandle
from jobfleet.model import Job

if TYPE_CHECKING:
    from jobfleet.client._async.cron import AsyncCronEntries
    from jobfleet.client._async.flows import AsyncFlows
    from jobfleet.client._async.limits import AsyncBreakers, AsyncGroups, AsyncLimits

T = TypeVar("T")


class AsyncClient(AsyncEvents, AsyncOperate, AsyncInspect, AsyncDead):
    """All operations of a client; it has no worker."""

    async def handle_of(self, job: Job[T]) -> AsyncJobHandle[T]:
        """Enqueue a job and return its handle. Raises the same errors as `enqueue`."""
        return AsyncJobHandle(self, await self.submit(job))

    @property
    def flows(self) -> AsyncFlows:
        """Flows: ``await fleet.flows.enqueue(flow)``, and the operations on them."""
        from jobfleet.client._async.flows import AsyncFlows

        return AsyncFlows(self, self._do)

    @property
    def cron(self) -> AsyncCronEntries:
        """The recurring jobs: ``await fleet.cron()`` lists them, ``await fleet.cron.add(…)`` adds one."""
        from jobfleet.client._async.cron import AsyncCronEntries  # croniter is for those who use it

        return AsyncCronEntries(self.context, self._do)

    @property
    def groups(self) -> AsyncGroups:
        """Strict sequences: ``await fleet.groups()`` lists them, ``await fleet.groups.skip(…)`` skips a head."""
        from jobfleet.client._async.limits import AsyncGroups

        return AsyncGroups(self.context, self._do)

    @property
    def breakers(self) -> AsyncBreakers:
        """Circuit breakers: ``await fleet.breakers()`` lists them, ``await fleet.breakers.close(…)`` closes one."""
        from jobfleet.client._async.limits import AsyncBreakers

        return AsyncBreakers(self.context, self._do)

    @property
    def limits(self) -> AsyncLimits:
        """Limits of queues and groups: ``await fleet.limits()`` lists them, ``await fleet.limits.set(…)`` sets them."""
        from jobfleet.client._async.limits import AsyncLimits

        return AsyncLimits(self.context, self._do)
