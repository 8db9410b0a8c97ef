"""Renewal of the leases of all children, in rounds."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterable, Sequence

from jobfleet.clock import monotonic
from jobfleet.errors import JobfleetError
from jobfleet.worker.ipc.lease_board import Posted
from jobfleet.worker.supervisor.child_handle import ChildHandle
from jobfleet.worker.supervisor.connection import Connection
from jobfleet.worker.supervisor.lease_renewer import LeaseRenewer, News

log = logging.getLogger("jobfleet.worker")


class Renewals:
    """Renews the leases on the boards of a worker's children, and reports lost leases to the children.

    Args:
        renewer: Renews leases.
        connection: Receives the results, for the line about the end of an outage.
        children: Returns a copy of the list of children.
        every: Seconds between two rounds.
    """

    def __init__(
        self,
        renewer: LeaseRenewer,
        connection: Connection,
        *,
        children: Callable[[], Iterable[ChildHandle]],
        every: float,
    ) -> None:
        self._renewer = renewer
        self._connection = connection
        self._children = children
        self._every = every

    async def keep_on(self) -> None:
        """Renew the leases in rounds. The leases of a frozen child expire."""
        while True:
            began = monotonic()
            self._connection.begin_round()
            failures: list[Exception] = []  # raised after the round: the others need their leases
            try:
                await self._renew(failures)
            except (JobfleetError, ValueError) as error:
                log.error("leases.not_renewed %s", error)
                self._connection.not_renewed()
            except Exception as error:  # noqa: BLE001 - see above
                failures.append(error)
            if failures:
                self._connection.not_renewed()
            self._connection.end_round()
            if failures:
                raise failures[0]
            await self._connection.pause(max(0.0, self._every - (monotonic() - began)))

    async def _renew(self, failures: list[Exception]) -> None:
        """Renew the leases of all children together: on a slow Redis, one must not wait for the others."""
        boards: list[tuple[ChildHandle, list[Posted]]] = []
        for handle in self._children():
            try:
                boards += [(handle, handle.posted())] if handle.stopped_at is None else []
            except Exception as error:  # noqa: BLE001 - see `keep_on`
                failures.append(error)
        news = await self._renewer.renew([one for _, posted in boards for one in posted])
        for handle, posted in boards:
            own = {one.key for one in posted}
            try:
                self._tell(handle, [part.about(own) for part in news])
            except Exception as error:  # noqa: BLE001 - see `keep_on`
                failures.append(error)
        for part in news:
            self._connection.renewed(part)

    def _tell(self, handle: ChildHandle, news: Sequence[News]) -> None:
        for part in news:
            if part.standing:
                handle.tell("renewed", part.until, part.standing)
        lost = [one for part in news for one in part.lost]
        if lost:  # runs that were settled meanwhile are no longer on the board
            still = {one.key for one in handle.posted()}
            lost = [one for one in lost if one in still]
        if lost or self._connection.outage.is_returning:
            handle.examine(lost)
        for part in news:
            for one in part.cancelled:
                handle.cancel(one.id, one.token, one.by)
