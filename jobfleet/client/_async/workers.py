"""Operations of a client on workers."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from jobfleet.client._async.audit import AsyncAudit, audited
from jobfleet.client._async.background import sleep
from jobfleet.model.option_types import Seconds

if TYPE_CHECKING:
    from jobfleet.operations.workers import commands, stacks


class AsyncWorkers(AsyncAudit):
    """Operations of a client on workers."""

    async def command_workers(
        self,
        ids: Sequence[str],
        command: str,
        *,
        processes: int | None = None,
        grace: Seconds | None = None,
        timeout: Seconds = 10.0,
        by: str | None = None,
    ) -> list[commands.Confirmation]:
        """Send a command to workers, wait until their heartbeats confirm it, and return the state of each.

        Args:
            ids: The workers.
            command: ``quiet``, ``resume``, ``stop``, ``scale`` or ``dump``.
            processes: The number of children per worker, for ``scale``.
            grace: Seconds that running jobs may take to end, for ``stop``; default the setting of each worker.
            timeout: Seconds to wait. A worker may confirm later.
            by: The person or program that gives the command, for the record.

        Raises:
            ConfigError: There is no such command, or an argument is missing or wrong.
        """
        from jobfleet.operations.actions import fleet as actions
        from jobfleet.operations.workers import commands

        order = commands.Order(ids, command, processes=processes, grace=grace, timeout=timeout, by=by)
        action = actions.command_workers(self.context, ids, command, processes=processes, grace=order.grace)
        return await audited(self.context, self._do, action, lambda: self._confirmed(order), by=by)

    async def _confirmed(self, order: commands.Order) -> list[commands.Confirmation]:
        while True:
            confirmations = await self._do(order.turn(self.context))
            if order.is_over:
                return confirmations
            await sleep(order.pause)

    async def child_stacks(self, child: str, *, timeout: Seconds = 10.0, by: str | None = None) -> stacks.ChildStacks:
        """Ask for the stacks of a child: of its threads and asyncio tasks, each with the job that it works for.

        A child whose event loop is blocked answers, too. A job in a process of its own shows only that the child waits
        for it.

        Args:
            child: The id of the child; `WorkerInfo.processes` has it, and a running job has it as `worker`.
            timeout: Seconds to wait for the answer.
            by: The person or program that asks, for the record.

        Returns:
            The stacks, or with `refusal` why there are none.

        Raises:
            ConfigError: An argument is wrong.
        """
        from jobfleet.operations.actions import fleet as actions
        from jobfleet.operations.workers import stacks

        question = stacks.Question(child, timeout=timeout, by=by)
        action = actions.child_stacks(child)
        return await audited(self.context, self._do, action, lambda: self._answered(question), by=by)

    async def _answered(self, question: stacks.Question) -> stacks.ChildStacks:
        while (found := await self._do(question.turn(self.context))) is None:
            await sleep(question.pause)
        return found
