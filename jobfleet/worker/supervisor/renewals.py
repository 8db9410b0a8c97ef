"""Renewal of the leases of all children, in rounds."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterable

from jobfleet.errors import JobfleetError
from jobfleet.worker.supervisor.child_handle import ChildHandle
from jobfleet.worker.supervisor.connection import Connection
from jobfleet.worker.supervisor.lease_renewer import LeaseRenewer

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
            self._connection.begin_round()
            failure: Exception | None = None
            for handle in self._children():
                if handle.stopped_at is None:
                    try:
                        await self._renew(handle)
                    except Exception as error:  # noqa: BLE001 - raised after the round: the others need their leases
                        failure = error
                        self._connection.not_renewed()
            self._connection.end_round()
            if failure is not None:
                raise failure
            await self._connection.pause(self._every)

    async def _renew(self, handle: ChildHandle) -> None:
        try:
            news = await self._renewer.renew(handle.posted())
        except (JobfleetError, ValueError) as error:
            log.error("leases.not_renewed child=%s %s", handle.child, error)
            self._connection.not_renewed()
            return
        handle.tell("renewed", news.until, news.standing)
        if news.lost:  # runs that were settled meanwhile are no longer on the board
            still = {(one.id, one.token) for one in handle.posted()}
            news.lost = [one for one in news.lost if one in still]
        if news.lost or self._connection.outage.is_returning:
            handle.examine(news.lost)
        self._connection.renewed(news)
        for one in news.cancelled:
            handle.cancel(one.id, one.token, one.by)
