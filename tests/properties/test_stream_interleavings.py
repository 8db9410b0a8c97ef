"""Chunks of output streams, in any order of tasks and with lost answers: a stream has each chunk once, in order."""

from __future__ import annotations

import asyncio
import random
from typing import Any, cast

from jobfleet.store.aio import AsyncStore
from jobfleet.store.call import Call
from jobfleet.worker.run.reports import ChunkWriter
from jobfleet.worker.run.run import Run
from tests.properties.test_interleavings import Paced, a_run, several
from tests.support.interleaving import interleaved, turns
from tests.support.run_events import QuietEvents

RUNS = 3


class Streams:
    """The streams as the script keeps them: a chunk that is there already is skipped."""

    def __init__(self) -> None:
        self.chunks: dict[str, list[bytes]] = {}
        self.is_closed: set[str] = set()

    def answer(self, call: Call[Any]) -> str:
        """Store the chunks of a call."""
        letters, at = "", 3
        while at < len(call.args):
            job_id, _, _, n, count = call.args[at : at + 5]
            letters += self._add(str(job_id), int(n), [bytes(one) for one in call.args[at + 5 : at + 5 + int(count)]])  # type: ignore[arg-type]
            at += 5 + int(count)
        return letters

    def _add(self, job_id: str, n: int, chunks: list[bytes]) -> str:
        if job_id in self.is_closed:
            return "l"
        stored = self.chunks.setdefault(job_id, [])
        assert n <= len(stored) + 1, f"chunk {n} of {job_id} has overtaken chunk {len(stored) + 1}"
        stored.extend(chunks[len(stored) + 1 - n :])
        return "o"


async def emitting(dice: random.Random) -> None:
    """Emit from three tasks, end the runs while trips are under way, and compare."""
    streams, runs, emitted = Streams(), [a_run(number) for number in range(RUNS)], dict[str, list[bytes]]()
    store = Paced(dice, streams.answer, fails=0.3)
    writer = ChunkWriter(cast(AsyncStore, store), most=9, most_bytes=9, ttl_ms=1, events=QuietEvents())

    async def emit(number: int) -> None:
        run, record = runs[number % RUNS], b"%d" % number
        emitted.setdefault(run.id, []).append(record)
        if not writer.emit(run, record) or dice.random() < 0.2:
            await writer.wait_for_room(run)
        await asyncio.sleep(dice.choice([0.0, 0.0, 0.002, 0.01]))

    async def end(run: Run) -> None:
        await turns(dice.randrange(6))
        run.ending.is_over = True
        for call in writer.end(run, None):
            streams.answer(call)
        streams.is_closed.add(run.id)

    await several(dice, emit)
    await asyncio.gather(*map(end, runs))
    await asyncio.sleep(1.0)

    assert streams.chunks == emitted


def test_a_stream_has_each_chunk_once_and_in_order() -> None:
    for seed in range(100):
        try:
            interleaved(emitting, seed=seed)
        except BaseException as error:
            raise AssertionError(f"in the order of seed {seed}: {error!r}") from error
