"""A producer process is killed in the midst of `flows.enqueue`: nothing starts, or all does."""

from __future__ import annotations

import signal
import subprocess
import sys
from pathlib import Path

import pytest

from jobfleet import AsyncFleet
from jobfleet.services.duties.relay import GUARD_US, Relay
from tests.services.duties.test_relay import DEFAULT, Player, player, relay

__all__ = ["player", "relay"]
pytestmark = pytest.mark.filterwarnings("ignore:No worker has published:UserWarning")
WIDTH = 300
WRITING = (
    "Waits until its producer has written the whole flow, or named all parents. If the producer died, a reaper "
    "starts a flow that is written within 10 s, and cancels what is not after 10 min."
)
PRODUCER = """
import os, signal, sys, warnings
from jobfleet import Fleet, Flow, Job
from jobfleet.operations.flows import flow as flows
from tests.support.trips import calls_of
warnings.simplefilter("ignore")
url, script, times = sys.argv[1], sys.argv[2], int(sys.argv[3])
flow = Flow("wide")
for number in range(300):
    flow.add(Job("part", "test.add", (number, 1)))
print(flow.id, flush=True)
with Fleet(url) as fleet:
    verb, answers = flows.enqueue(fleet.context, flow), None
    while True:
        calls, answers = calls_of(verb.send(answers)), []
        for call in calls:
            if call.script.name == script:
                times -= 1
                if times < 0:
                    os.kill(os.getpid(), signal.SIGKILL)
            answers += fleet.store.run_many([call])
"""
ROOT = Path(__file__).parents[3]


def killed_before(url: str, script: str, times: int) -> str:
    """Have a process enqueue a flow of `WIDTH` jobs and be killed before a script once it has run it some times."""
    done = subprocess.run(
        [sys.executable, "-c", PRODUCER, url, script, str(times)], cwd=ROOT, capture_output=True, text=True, check=False
    )
    assert done.returncode == -signal.SIGKILL, done.stderr
    return done.stdout.strip()


async def counted(fleet: AsyncFleet, flow_id: str) -> dict[str, int]:
    found: dict[str, int] = {}
    for one in (await fleet.flows.get(flow_id)).jobs:
        found[one.status] = found.get(one.status, 0) + 1
    return found


async def said(fleet: AsyncFleet, flow_id: str) -> str:
    """What `explain` says first of the flow's last job."""
    return (await fleet.explain((await fleet.flows.get(flow_id)).jobs[-1].id)).reasons[0].text


async def test_a_flow_whose_producer_is_killed_while_it_starts_it_is_started_as_a_whole_before_any_sweep(
    fleet: AsyncFleet, relay: Relay, redis_url: str
) -> None:
    await relay.turn()  # the last sweep was just now
    flow_id = killed_before(redis_url, "unblock", 2)
    before, why = await counted(fleet, flow_id), await said(fleet, flow_id)
    relay._looked = 0

    await relay.turn()

    assert before == {"queued": 100, "blocked": WIDTH - 100}
    assert why == WRITING
    assert await counted(fleet, flow_id) == {"queued": WIDTH}


async def test_a_sweep_that_finds_one_guard_of_a_whole_flow_starts_the_whole_flow(
    fleet: AsyncFleet, relay: Relay, redis_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("jobfleet.services.duties.relay.SWEPT_AT_ONCE", 50)
    flow_id = killed_before(redis_url, "unblock", 0)

    await relay.turn()

    assert await counted(fleet, flow_id) == {"queued": WIDTH}


async def test_nothing_of_a_flow_has_started_whose_producer_is_killed_before_it_was_whole(
    fleet: AsyncFleet, relay: Relay, player: Player, redis_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    flow_id = killed_before(redis_url, "keep_flow", 1)
    await relay.turn()
    before, why = await counted(fleet, flow_id), await said(fleet, flow_id)
    claimed = await player.claim(DEFAULT)
    monkeypatch.setattr("jobfleet.services.duties.relay.GUARD_US", -GUARD_US)  # much later
    for _ in range(4):  # a sweep passes over some of those behind the ones that it cancels
        relay._swept = 0
        await relay.turn()

    assert (before, claimed) == ({"blocked": WIDTH}, [])
    assert why == WRITING
    assert await counted(fleet, flow_id) == {"cancelled": WIDTH}


async def test_a_flow_that_was_put_together_long_ago_is_not_cancelled_while_it_is_written(
    fleet: AsyncFleet, relay: Relay, redis_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    flow_id = killed_before(redis_url, "keep_flow", 1)
    older_than_any_guard = 1
    monkeypatch.setattr("jobfleet.services.duties.relay.suffix_time_us", lambda _: older_than_any_guard)

    await relay.turn()

    assert await counted(fleet, flow_id) == {"blocked": WIDTH}
