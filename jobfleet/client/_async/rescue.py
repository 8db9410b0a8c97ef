"""`AsyncRescue`: the rescue of a group of dead letters."""

from __future__ import annotations

from typing import TYPE_CHECKING

from jobfleet.client._async.part import AsyncPart

if TYPE_CHECKING:
    from jobfleet.operations.dead.rescue import RescueStatus
    from jobfleet.operations.fleet_context import FleetContext
    from jobfleet.operations.operation import AsyncDriver


class AsyncRescue(AsyncPart):
    """The rescue of a group of dead letters, which the reapers carry out.

    Args:
        context: The context of the client.
        do: Runs an operation.
        rescue: The id of the rescue.

    Attributes:
        id: The id of the rescue.
    """

    def __init__(self, context: FleetContext, do: AsyncDriver, rescue: str) -> None:
        super().__init__(context, do)
        self.id = rescue

    def __str__(self) -> str:
        return self.id

    def __repr__(self) -> str:
        return f"{type(self).__name__}({self.id!r})"

    async def status(self) -> RescueStatus:
        """Return the state of the rescue, with the counts of its jobs.

        Raises:
            UnknownRescue: The rescue is not kept any more.
        """
        from jobfleet.operations.dead import rescue

        return await self._do(rescue.status(self._context, self.id))

    async def stop(self, *, by: str | None = None) -> bool:
        """Replay no further letter. Return False if the rescue was not running.

        Args:
            by: The person or program that stops it, for the record.

        Raises:
            UnknownRescue: The rescue is not kept any more.
        """
        from jobfleet.operations.actions import dead as actions
        from jobfleet.operations.dead import rescue

        return await self._audited(
            actions.stop_rescue(self._context, self.id), rescue.stop(self._context, self.id, by), by
        )

    async def undo(self, *, by: str | None = None) -> int:
        """Stop the rescue, and make dead letters again of its jobs that have not started.

        They get their old error and history. Return how many there were, in all calls. Repeating the call is safe.

        Args:
            by: The person or program that undoes it, for the record.

        Raises:
            UnknownRescue: The rescue is not kept any more.
        """
        from jobfleet.operations.actions import dead as actions
        from jobfleet.operations.dead import advance

        await self._audited(actions.undo_rescue(self._context, self.id), advance.undo(self._context, self.id, by), by)
        return (await self.status()).undone
