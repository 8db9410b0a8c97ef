"""Looks up how the parents of a run ended: the jobs that it has waited for."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from jobfleet.codec.frames import is_refused, open_record, read_fields
from jobfleet.errors import BadSignature
from jobfleet.model.spec import PARENT_MARK_BYTES, parent_mark
from jobfleet.operations.operation import batches
from jobfleet.store.aio import AsyncStore
from jobfleet.store.calls import flow, inspect
from jobfleet.store.keys import Keyspace, Lane
from jobfleet.store.records import opened_ending
from jobfleet.worker.run.run import ParentEnd

if TYPE_CHECKING:
    from jobfleet.codec.seals import Seals

TOGETHER = 50
"""The number of runs whose parents are looked up in one trip."""


class Parents:
    """Looks up how the parents of runs ended. Look-ups that begin at the same moment share a trip.

    Args:
        store: The connection.
        keys: The keys of the fleet.
    """

    def __init__(self, store: AsyncStore, keys: Keyspace) -> None:
        self._store = store
        self._keys = keys
        self._asked: list[tuple[Lane, str, asyncio.Future[list[flow.ParentState]]]] = []
        self._trips: set[asyncio.Task[None]] = set()

    @property
    def are_sealed(self) -> bool:
        """Whether results are sealed; then a run is refused if that of a parent was forged."""
        return self._keys.seals is not None

    async def __call__(self, lane: Lane, job_id: str, header: Mapping[str, Any]) -> list[ParentEnd]:
        """How the parents of a job ended, in order. Large results are read from their own keys.

        Args:
            lane: The lane of the job.
            job_id: The job.
            header: The header of its envelope.

        Raises:
            BadSignature: With signatures required, a parent that must have completed is not shown to have.
            UnknownKey: The ending of a parent was sealed with a key that this process does not have.
        """
        loop = asyncio.get_running_loop()
        answer: asyncio.Future[list[flow.ParentState]] = loop.create_future()
        if not self._asked:
            loop.call_soon(self._begin_trip)
        self._asked.append((lane, job_id, answer))
        states = await answer
        rows = {state.parent: (state.parent, state.status, state.record) for state in states}
        by_lane: dict[Lane, list[str]] = {}
        for state in states:
            if not state.record and state.status not in ("", "gone"):
                by_lane.setdefault(self._keys.lane_of(state.parent), []).append(state.parent)
        for there, ids in by_lane.items():
            for part in batches(ids, inspect.CHUNK):
                values = await self._store.run(flow.results(there, part))
                for parent, value in zip(part, values, strict=True):
                    rows[parent] = (parent, rows[parent][1], value)
        if (seals := self._keys.seals) is None:
            return list(rows.values())
        opened = [(parent, status, opened_ending(seals, parent, value)) for parent, status, value in rows.values()]
        if seals.requires:
            proofs = {state.parent: (state.token, state.proof) for state in states}
            _check(seals, opened, proofs, header.get("required"))
        return opened

    def _begin_trip(self) -> None:
        asked, self._asked = self._asked, []
        task = asyncio.get_running_loop().create_task(self._look_up(asked))
        self._trips.add(task)
        task.add_done_callback(self._trips.discard)

    async def _look_up(self, asked: Sequence[tuple[Lane, str, asyncio.Future[list[flow.ParentState]]]]) -> None:
        for part in batches(asked, TOGETHER):
            try:
                found = await self._store.run_many([flow.parents(lane, job_id) for lane, job_id, _ in part])
            except Exception as error:  # noqa: BLE001 - each of these runs ends with the error, or it would wait for ever
                found = [error] * len(part)
            for (_, _, answer), states in zip(part, found, strict=True):
                if answer.done():
                    continue  # its run was stopped in the meantime
                if isinstance(states, Exception):
                    answer.set_exception(states)
                else:
                    answer.set_result(states)


def _check(seals: Seals, rows: Sequence[ParentEnd], proofs: Mapping[str, tuple[int, str]], required: object) -> None:
    """Check that all parents have ended, that nothing that is handed over is forged, and that the required completed.

    Who writes to Redis without the keys can remove and add parents, so the header names those that must have completed.
    The new job of a parent that was moved names the former id.
    """
    completed = set()
    for parent, status, ending in rows:
        value, (token, proof) = ending, proofs[parent]
        if not value and status == "completed":  # it is deleted by now
            value = opened_ending(seals, parent, b"completed 0 %d 0 - - %b\n" % (token, proof.encode()))
        line, _, body = value.partition(b"\n")
        if is_refused(body):
            open_record(body)  # raises the error
        if not status:
            raise BadSignature(f"parents: {parent} has not ended.", what="parents")
        if line.startswith(b"completed "):
            fields = read_fields(body) if body else {}
            completed |= {parent_mark(str(name)) for name in (parent, fields.get("moved_from"), fields.get("origin"))}
    marks = required if isinstance(required, bytes) else b""
    size = PARENT_MARK_BYTES
    missing = {marks[at : at + size] for at in range(0, len(marks), size)} - completed
    if missing:
        text = f"{len(missing)} of {len(marks) // size} jobs that must have completed are not shown to have"
        raise BadSignature(f"parents: {text}; their endings are gone or forged.", what="parents")
