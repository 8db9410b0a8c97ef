"""Whoever ends a job that others wait for tells them: no wake-up is lost, however tasks interleave."""

from __future__ import annotations

import asyncio
import random
from types import SimpleNamespace
from typing import cast

from jobfleet.errors import ScriptContractError
from jobfleet.services.duties.relay import Relay, Unblocker
from jobfleet.store.keys import Keyspace, Lane
from tests.support.interleaving import interleaved, turns

KEYS = Keyspace("jobfleet")
LANES = [KEYS.lane("a", 0), KEYS.lane("b", 0)]
SEEDS = range(300)


class Outboxes:
    """Stands for the relay and the outboxes that it reads: a look, an await, and what was seen is gone."""

    def __init__(self, dice: random.Random) -> None:
        self.records: dict[Lane, set[int]] = {lane: set() for lane in LANES}
        self._dice = dice

    async def relay(self, lane: Lane) -> None:
        await turns(self._dice.randrange(3))
        seen = set(self.records[lane])
        await turns(self._dice.randrange(3))
        self.records[lane] -= seen


async def tell_at_random(dice: random.Random, outboxes: Outboxes) -> Unblocker:
    """Write records and tell of each, from several tasks; then wait until the teller is idle."""
    teller = Unblocker(cast(Relay, outboxes), lambda: None)

    async def writer(first: int) -> None:
        for number in range(first, first + 6):
            lane = dice.choice(LANES)
            outboxes.records[lane].add(number)
            teller.tell(lane)
            await turns(dice.randrange(4))

    await asyncio.gather(*(writer(first) for first in (0, 100, 200)))
    while teller.is_busy:
        await asyncio.sleep(0)
    return teller


def test_whatever_was_told_of_has_been_relayed_when_the_teller_is_idle() -> None:
    for seed in SEEDS:

        async def main(dice: random.Random) -> dict[Lane, set[int]]:
            outboxes = Outboxes(dice)
            await tell_at_random(dice, outboxes)
            return outboxes.records

        assert interleaved(main, seed=seed) == {lane: set() for lane in LANES}, f"seed {seed}"


async def test_what_was_told_while_a_relay_failed_is_relayed_all_the_same() -> None:
    outboxes, gate = Outboxes(random.Random(1)), asyncio.Event()

    async def failing(lane: Lane) -> None:
        await gate.wait()
        raise ScriptContractError("outbox answered something else")

    relays = [failing, outboxes.relay]

    async def relay(lane: Lane) -> None:
        await relays.pop(0)(lane)

    teller = Unblocker(cast(Relay, SimpleNamespace(relay=relay)))
    teller.tell(LANES[0])
    await asyncio.sleep(0)
    outboxes.records[LANES[0]].add(1)
    teller.tell(LANES[0])
    gate.set()
    await teller.drained(10.0)

    assert outboxes.records[LANES[0]] == set()
