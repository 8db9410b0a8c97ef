"""Batch a child's requests to named limits and breakers: one call for the runs that start, one for those that end.

A gate whose keys cannot be read makes such a script fail. Then the child asks for each combination of gates separately,
so only the runs that need that gate are held back.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Coroutine, Iterable, Sequence
from typing import Any

from jobfleet.errors import ScriptContractError
from jobfleet.model.limits import BREAKER, Demand
from jobfleet.services.confirmations import Confirmations
from jobfleet.store.aio import AsyncStore
from jobfleet.store.call import Call, in_order, levels_in
from jobfleet.store.calls import limits as calls
from jobfleet.store.calls.limits import Leaving, Passed, Passing, Room
from jobfleet.store.keys import Keyspace
from jobfleet.worker.run.run import Run

log = logging.getLogger("jobfleet.worker")
HELD_US = 5_000_000
"""µs until the child asks again for a gate that cannot be read."""
Waiting = tuple[Passing, "asyncio.Future[tuple[Passed, int]]"]
Begin = Callable[[str, Callable[[], Coroutine[Any, Any, None]]], None]


class GateRequests:
    """Sends a child's requests to named limits and breakers, batched per gate.

    Args:
        store: The connection, with endless patience.
        keys: The fleet's keys.
        child: The child's id.
        begin: Begins work under a name, unless work of that name is under way.
        on_rooms: Called with each answer that tells how much room gates have.
        confirmations: Confirms the places of durable jobs, so that a failover gives them to nobody else.
    """

    def __init__(
        self,
        store: AsyncStore,
        keys: Keyspace,
        *,
        child: str,
        begin: Begin,
        on_rooms: Callable[[Passed], None],
        confirmations: Confirmations | None = None,
    ) -> None:
        self._store = store
        self._keys = keys
        self._child = child
        self._begin = begin
        self._on_rooms = on_rooms
        self._confirmations = confirmations
        self._durable: list[Run] = []
        self._loop = asyncio.get_running_loop()
        self._asking: list[Waiting] = []
        self._leaving: list[Leaving] = []
        self._unreadable: set[str] = set()

    async def answer(self, passing: Passing, run: Run) -> tuple[Passed, int]:
        """Ask together with the other runs that ask now; return the answer, and the place of this run in it."""
        if levels_in((run.header,)):
            self._durable.append(run)
        future: asyncio.Future[tuple[Passed, int]] = self._loop.create_future()
        self._asking.append((passing, future))
        self._begin("trip", self._travel)
        try:
            return await future
        except asyncio.CancelledError:
            if not future.cancelled() and future.exception() is None:  # the answer has come at the same time
                self._give_back(passing, *future.result())
            raise

    def _give_back(self, passing: Passing, seen: Passed, place: int) -> None:
        """Leave the gates that a run has passed that was stopped while it asked."""
        if not seen.refusals[place]:
            self.leave(Leaving(passing.holder, passing.demands, "unused", "", seen.now))

    def leave(self, leaving: Leaving) -> None:
        """Report the end of a run with the next trip."""
        self._leaving.append(leaving)
        self._begin("trip", self._travel)

    async def look(self, gates: Sequence[Demand]) -> None:
        """Ask for the room of gates.

        Raises:
            JobfleetError: They cannot be asked.
        """
        (answer,) = await self._sent([self._look_call(gates)])
        if not isinstance(answer, ScriptContractError):
            self._learn(answer)
            return
        answers = await self._sent([self._look_call([one])._replace(mends=False) for one in gates])
        for one, seen in zip(gates, answers, strict=True):
            is_unreadable = isinstance(seen, ScriptContractError)
            self._learn(self._held([one.gate], seen, 0) if is_unreadable else seen)

    async def wait_no_more(self, gates: Sequence[Demand]) -> None:
        """Report that this child ends, and so waits for room of no gate any more."""
        trip = [
            calls.leave_gates(self._keys, self._child, (), gone=gates[at : at + calls.CHUNK])
            for at in range(0, len(gates), calls.CHUNK)
        ]
        for answer in await self._sent(trip):
            if isinstance(answer, Exception):  # Redis drops it from the lists after a while
                log.info("gates.unsent %s", answer)

    def _look_call(self, gates: Sequence[Demand]) -> Call[Passed]:
        return calls.pass_gates(self._keys, self._child, (), look=gates)

    async def _travel(self) -> None:
        """Make one trip after the other. What has ended counts before the next runs pass.

        So a breaker lets no more runs start than there are slots, and the outcomes that open it.
        """
        await asyncio.sleep(0)  # runs that end in one turn of the loop leave together
        while self._asking or self._leaving:
            left, self._leaving = self._leaving[: calls.CHUNK], self._leaving[calls.CHUNK :]
            most = 0 if self._leaving else calls.CHUNK
            asked, self._asking = self._asking[:most], self._asking[most:]
            trip: list[Call[Any]] = [calls.leave_gates(self._keys, self._child, left)] if left else []
            trip += [self._pass_call(asked)] if asked else []
            answers = await self._sent(trip)
            if left and isinstance(answers[0], ScriptContractError):
                await self._leave_apart(left)
            elif left:
                self._counted(len(left), answers[0])
            if asked and isinstance(answers[-1], ScriptContractError):
                await self._pass_apart(asked)
            elif asked:
                self._passed(asked, answers[-1])

    async def _sent(self, trip: Sequence[Call[Any]]) -> list[Any]:
        """Return the answer to each call, or the error in which it has ended."""
        try:
            durable, self._durable = self._durable, []
            if durable and self._confirmations is not None:
                levels = levels_in(run.header for run in durable)
                return await self._confirmations.run_many(
                    durable[0].lane, in_order(trip), levels, what="a place of a limit"
                )
            return await self._store.run_many(in_order(trip))
        except Exception as error:  # noqa: BLE001 - each run ends with it
            return [error] * len(trip)

    def _pass_call(self, asked: Sequence[Waiting]) -> Call[Passed]:
        return calls.pass_gates(self._keys, self._child, [one for one, _ in asked])

    async def _pass_apart(self, asked: Sequence[Waiting]) -> None:
        """Ask for each combination of gates separately, because one of the gates makes the script fail.

        The store has tried to repair the gate before. The script reads all gates before it writes.
        """
        groups: dict[tuple[str, ...], list[Waiting]] = {}
        for one in asked:
            groups.setdefault(tuple(demand.gate for demand in one[0].demands), []).append(one)
        answers = await self._sent([self._pass_call(group)._replace(mends=False) for group in groups.values()])
        failed = [
            gates for gates, answer in zip(groups, answers, strict=True) if isinstance(answer, ScriptContractError)
        ]
        bad = await self._unreadable_among(one for gates in failed for one in groups[gates][0][0].demands)
        for (gates, group), answer in zip(groups.items(), answers, strict=True):
            if isinstance(answer, ScriptContractError):
                known = [gate for gate in gates if gate in bad]
                self._passed(group, self._held(known or gates, answer, len(group)))
            else:
                self._passed(group, answer)

    async def _unreadable_among(self, demands: Iterable[Demand]) -> set[str]:
        """Return the gates that cannot be read by themselves."""
        distinct = [*{one.gate: one for one in demands}.values()]
        answers = await self._sent([self._look_call([one])._replace(mends=False) for one in distinct])
        return {one.gate for one, seen in zip(distinct, answers, strict=True) if isinstance(seen, ScriptContractError)}

    def _held(self, gates: Sequence[str], error: Exception, runs: int) -> Passed:
        """Make the answer for gates that cannot be read: they have no room for a while. Report each of them once."""
        for gate in gates:
            if gate not in self._unreadable:
                self._unreadable.add(gate)
                log.error(
                    "gates.unreadable gate=%s only the jobs that need it wait; find out what has written %s or %s, and "
                    "delete the damaged key%s: %s",
                    gate, self._keys.gate(gate), self._keys.inside(gate), _then(gate), error,
                )  # fmt: skip
        rooms = {gate: Room(0, calls.UNLIMITED, HELD_US, 0, 0) for gate in gates}
        return Passed(0, (gates[0],) * runs, frozenset(), rooms)

    def _passed(self, asked: Sequence[Waiting], answer: Any) -> None:
        """Hand out an answer to the runs that wait for it."""
        if not isinstance(answer, Exception):
            self._learn(answer)
        for place, (passing, future) in enumerate(asked):
            if future.done():
                if not isinstance(answer, Exception):
                    self._give_back(passing, answer, place)
            elif isinstance(answer, Exception):
                future.set_exception(answer)
            else:
                future.set_result((answer, place))

    def _learn(self, answer: Any) -> None:
        if isinstance(answer, Exception):
            raise answer
        if answer.now:  # not made by `_held`
            for gate in self._unreadable & answer.rooms.keys():
                self._unreadable.discard(gate)
                log.info("gates.readable gate=%s", gate)
        self._on_rooms(answer)

    async def _leave_apart(self, left: Sequence[Leaving]) -> None:
        """Report the ends of runs to each gate separately, because one of the gates makes the script fail."""
        by_gate: dict[str, list[Leaving]] = {}
        for one in left:
            for demand in one.demands:
                by_gate.setdefault(demand.gate, []).append(one._replace(demands=(demand,)))
        trip = [calls.leave_gates(self._keys, self._child, rows)._replace(mends=False) for rows in by_gate.values()]
        for (gate, rows), answer in zip(by_gate.items(), await self._sent(trip), strict=True):
            if isinstance(answer, ScriptContractError):
                self._held([gate], answer, 0)
            else:
                self._counted(len(rows), answer)

    def _counted(self, runs: int, answer: Any) -> None:
        """Log what the ends of runs have changed."""
        if isinstance(answer, Exception):  # their places are freed when other children miss them
            log.error("gates.unsent runs=%d %s", runs, answer)
            return
        for name, word, why in answer:
            log.warning("breaker.%s breaker=%s %s", word or "closed", name.removeprefix(BREAKER), why)


def _then(gate: str) -> str:
    """What to do after the key of a gate was deleted."""
    if gate.startswith(BREAKER):
        return ""
    return f", and define the limit again with 'jobfleet limits named {gate.partition(':')[2]} …'"
