"""A flow whose producer dies, or loses replies, at any moment while it is written: all of it runs, or none."""

from __future__ import annotations

import itertools
from collections.abc import Iterator
from typing import Any

import pytest
import redis

from jobfleet import Fleet, Flow, Job
from jobfleet.operations.flows import flow as flows
from jobfleet.operations.operation import BulkOperation
from jobfleet.services.duties.relay import Relay
from tests.services.duties.test_relay import DEFAULT, OTHER, Player, finish, job, player, relay
from tests.support.trips import calls_of

__all__ = ["player", "relay"]
pytestmark = pytest.mark.filterwarnings("ignore:No worker has published:UserWarning")


@pytest.fixture
def fleet(redis_url: str, raw: redis.Redis) -> Iterator[Fleet]:
    assert raw.dbsize() == 0
    with Fleet(redis_url) as fleet:
        yield fleet


def several() -> Flow:
    """A root, jobs in two queues behind it, one with a clear record, one that runs anyway, and a callback."""
    flow = Flow("several")
    root = flow.add(job(on_failure=Job("undo", "test.add", (0, 0), queue="other")))
    middle = [flow.add(job(queue), after=root) for queue in ("default", "other", "default")]
    middle.append(flow.add(job("other", tags=["red"]), after=root))
    anyway = flow.add(job(), after=middle, otherwise="run")
    flow.add(job("other"), after=[anyway, root])
    return flow


def written(fleet: Fleet, flow: Flow, *, most: int = 1000, is_repeated: bool = False) -> int:
    """Write a flow script by script, but no more than `most`; each is sent twice if replies are lost."""
    verb: BulkOperation[Any] = flows.enqueue(fleet.context, flow)
    answers: Any = None
    count = 0
    try:
        while True:
            calls = calls_of(verb.send(answers))
            answers = []
            for call in calls:
                if count == most:
                    return count
                count += 1
                answers += fleet.store.run_many([call])
                if is_repeated:
                    answers[-1:] = fleet.store.run_many([call])
    except StopIteration:
        return count


def ids_of(flow: Flow) -> list[str]:
    return [f"{node.job.queue}.0.{node.job.suffix}" for node in flow.nodes]


async def late(relay: Relay, monkeypatch: pytest.MonkeyPatch) -> None:
    """Let the reapers look after what a dead producer left, when it has been dead for long."""
    with monkeypatch.context() as patch:
        patch.setattr("jobfleet.services.duties.relay.GUARD_US", -600_000_000)
        patch.setattr("jobfleet.services.duties.relay.WATCHED_FOR", 0.0)
        for _ in range(4):
            relay._swept = 0
            await relay.turn()


async def play_out(relay: Relay, player: Player, monkeypatch: pytest.MonkeyPatch) -> None:
    """Run what starts, before and after the reapers have looked after what a dead producer left."""
    await relay.turn()
    await finish(player, relay, DEFAULT, OTHER)
    await late(relay, monkeypatch)
    await finish(player, relay, DEFAULT, OTHER)


def begin_anew(fleet: Fleet, relay: Relay, player: Player, raw: redis.Redis) -> None:
    raw.flushall()
    fleet.context.queues.clear()
    player.started.clear()
    relay._looked = relay._swept = 0
    relay._begun.clear()


def nothing_waits(raw: redis.Redis) -> bool:
    return not any(raw.zcard(key) for lane in (DEFAULT, OTHER) for key in lane.ready)


async def test_a_producer_may_die_at_any_moment(
    fleet: Fleet, relay: Relay, player: Player, raw: redis.Redis, monkeypatch: pytest.MonkeyPatch
) -> None:
    ran = set()
    for most in itertools.count():
        begin_anew(fleet, relay, player, raw)
        flow = several()
        if written(fleet, flow, most=most) < most:
            break

        await play_out(relay, player, monkeypatch)

        assert sorted(player.started) in ([], sorted(ids_of(flow))), f"after {most} scripts"
        assert nothing_waits(raw), f"after {most} scripts"
        ran.add(bool(player.started))
    assert ran == {True, False}


async def test_a_flow_may_be_enqueued_again_wherever_its_producer_died(
    fleet: Fleet, relay: Relay, player: Player, raw: redis.Redis, monkeypatch: pytest.MonkeyPatch
) -> None:
    for most in itertools.count():
        begin_anew(fleet, relay, player, raw)
        flow = several()
        if written(fleet, flow, most=most) < most:
            break
        await player.claim(DEFAULT, OTHER)  # what has started stays started
        del player.started[:]
        runs: list[Any] = [key for lane in (DEFAULT, OTHER) for key in raw.hkeys(lane.runs)]
        begun = [key.decode() for key in runs]

        written(fleet, flow)
        await play_out(relay, player, monkeypatch)

        assert sorted([*player.started, *begun]) in (sorted(ids_of(flow)), begun), f"after {most} scripts"
        assert begun or nothing_waits(raw), f"after {most} scripts"


async def test_replies_may_be_lost(
    fleet: Fleet, relay: Relay, player: Player, raw: redis.Redis, monkeypatch: pytest.MonkeyPatch
) -> None:
    flow = several()
    written(fleet, flow, is_repeated=True)

    await play_out(relay, player, monkeypatch)

    assert sorted(player.started) == sorted(ids_of(flow))
    assert player.started[0] == ids_of(flow)[0]
    assert nothing_waits(raw)


def test_few_scripts_write_a_wide_flow(fleet: Fleet) -> None:
    flow = Flow("wide")
    root = flow.add(job())
    flow.add(job(), after=[flow.add(job(), after=root) for _ in range(1000)])
    fleet.enqueue(job())

    # 2 records, the root, and 20 times 50: jobs, parents of the last one, dependants of the root; then the guards
    assert written(fleet, flow) == 2 + 1 + 20 + 20 + 20 + 1
