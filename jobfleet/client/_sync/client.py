# Made by scripts/unasync from jobfleet/client/_async/client.py. Change that, and run scripts/unasync.
"""`Client`: all operations of a client; it has no worker."""

from __future__ import annotations

from typing import TYPE_CHECKING, TypeVar

from jobfleet.client._sync.dead import Dead
from jobfleet.client._sync.events import Events
from jobfleet.client._sync.inspect import Inspect
from jobfleet.client._sync.operate import Operate
from jobfleet.handle._sync.handle import JobHandle
from jobfleet.model import Job

if TYPE_CHECKING:
    from jobfleet.client._sync.cron import CronEntries
    from jobfleet.client._sync.flows import Flows
    from jobfleet.client._sync.limits import Breakers, Groups, Limits

T = TypeVar("T")


class Client(Events, Operate, Inspect, Dead):
    """All operations of a client; it has no worker."""

    def handle_of(self, job: Job[T]) -> JobHandle[T]:
        """Enqueue a job and return its handle. Raises the same errors as `enqueue`."""
        return JobHandle(self, self.submit(job))

    @property
    def flows(self) -> Flows:
        """Flows: ``fleet.flows.enqueue(flow)``, and the operations on them."""
        from jobfleet.client._sync.flows import Flows

        return Flows(self, self._do)

    @property
    def cron(self) -> CronEntries:
        """The recurring jobs: ``fleet.cron()`` lists them, ``fleet.cron.add(…)`` adds one."""
        from jobfleet.client._sync.cron import CronEntries  # croniter is for those who use it

        return CronEntries(self.context, self._do)

    @property
    def groups(self) -> Groups:
        """Strict sequences: ``fleet.groups()`` lists them, ``fleet.groups.skip(…)`` skips a head."""
        from jobfleet.client._sync.limits import Groups

        return Groups(self.context, self._do)

    @property
    def breakers(self) -> Breakers:
        """Circuit breakers: ``fleet.breakers()`` lists them, ``fleet.breakers.close(…)`` closes one."""
        from jobfleet.client._sync.limits import Breakers

        return Breakers(self.context, self._do)

    @property
    def limits(self) -> Limits:
        """Limits of queues and groups: ``fleet.limits()`` lists them, ``fleet.limits.set(…)`` sets them."""
        from jobfleet.client._sync.limits import Limits

        return Limits(self.context, self._do)
