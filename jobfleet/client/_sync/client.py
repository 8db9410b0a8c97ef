# Made by scripts/unasync from jobfleet/client/_async/client.py. Change that, and run scripts/unasync.
"""`Client`: all that a client of a fleet can do without a worker."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from jobfleet.client._sync.events import Events
from jobfleet.client._sync.inspect import Inspect
from jobfleet.client._sync.operate import Operate
from jobfleet.handle._sync.handle import JobHandle
from jobfleet.model import Job

if TYPE_CHECKING:
    from jobfleet.client._sync.cron import CronEntries
    from jobfleet.client._sync.flows import Flows
    from jobfleet.client._sync.limits import Limits


class Client(Events, Operate, Inspect):
    """All that a client of a fleet can do without a worker."""

    def handle_of(self, job: Job) -> JobHandle[Any]:
        """Put a job into the fleet; return a handle. Raises as `enqueue`."""
        return JobHandle(self, self.submit(job))

    @property
    def flows(self) -> Flows:
        """Jobs that wait for one another: ``fleet.flows.enqueue(flow)``, and the verbs about them."""
        from jobfleet.client._sync.flows import Flows

        return Flows(self.context, self._do)

    @property
    def cron(self) -> CronEntries:
        """The recurring jobs: ``fleet.cron()`` lists them, ``fleet.cron.add(…)`` adds one."""
        from jobfleet.client._sync.cron import CronEntries  # croniter is for those who use it

        return CronEntries(self.context, self._do)

    @property
    def limits(self) -> Limits:
        """What queues and groups may do: ``fleet.limits()`` lists it, ``fleet.limits.set(…)`` sets it."""
        from jobfleet.client._sync.limits import Limits

        return Limits(self.context, self._do)
