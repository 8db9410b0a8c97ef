"""Adding to a flow may be cut at any step: whoever runs the job again goes on, else nothing stays stuck."""

from __future__ import annotations

from typing import Any

import pytest

from jobfleet import AsyncFleet, Flow, InvalidJob
from jobfleet.functions.port import FlowAddition
from jobfleet.operations.flows.extend import extend_flow
from jobfleet.operations.flows.record import FlowInfo
from jobfleet.services.duties.relay import Relay
from jobfleet.store.aio import AsyncStore
from jobfleet.store.calls import flow as calls
from jobfleet.store.keys import Lane
from tests.services.duties.test_relay import DEFAULT, KEYS, OTHER, Player, finish, job, player, relay, status

__all__ = ["player", "relay"]
pytestmark = pytest.mark.filterwarnings("ignore:No worker has published:UserWarning")
STEPS = range(1, 14)


async def growing(fleet: AsyncFleet, player: Player) -> tuple[FlowInfo, Lane, int]:
    """A flow of two whose first job runs."""
    flow = Flow("growing")
    flow.chain(job(), job("other"))
    info = await fleet.flows.enqueue(flow)
    [(lane, _, token)] = await player.claim(DEFAULT)
    return info, lane, token


def wish(*, after_this: bool = False) -> FlowAddition:
    flow = Flow("more")
    parts = flow.group(job(), job("other"), job())
    flow.add(job("other"), after=parts)
    return FlowAddition(flow, "more", after_this, (0, 1, 2, 3))


async def cut(fleet: AsyncFleet, store: AsyncStore, info: FlowInfo, after: int, **options: Any) -> bool:
    """Add, but for so many steps only; whether it came to its end."""
    verb = extend_flow(fleet.context, info.jobs[0].id, info.id, wish(**options))
    answers: Any = None
    for _ in range(after):
        try:
            calls_ = verb.send(answers)
        except StopIteration:
            return True
        answers = await store.run_many(calls_)
    verb.close()
    return False


@pytest.mark.parametrize("after_this", [False, True])
@pytest.mark.parametrize("after", STEPS)
async def test_the_next_run_goes_on_wherever_the_last_was_cut(
    fleet: AsyncFleet, store: AsyncStore, player: Player, relay: Relay, after: int, after_this: bool
) -> None:
    info, lane, token = await growing(fleet, player)
    await cut(fleet, store, info, after, after_this=after_this)
    for there, job_id, other in await player.claim(DEFAULT, OTHER):  # those that are there already run meanwhile
        await player.end(there, job_id, other)
    relay._swept = 0
    await relay.turn()

    assert await cut(fleet, store, info, 100, after_this=after_this)
    await player.end(lane, info.jobs[0].id, token)
    await relay.turn()
    await finish(player, relay, DEFAULT, OTHER)

    jobs = (await fleet.flows.get(info.id)).jobs
    assert [one.status for one in jobs] == ["completed"] * 6
    assert len(player.started) == len(set(player.started)) == 6
    assert player.started[-1] == info.jobs[1].id, "the one that waited for the first waits for all"


@pytest.mark.parametrize("after", STEPS)
async def test_what_nobody_goes_on_with_is_let_go_once_the_job_has_ended(
    fleet: AsyncFleet, store: AsyncStore, player: Player, relay: Relay, after: int
) -> None:
    info, lane, token = await growing(fleet, player)
    await cut(fleet, store, info, after)
    await relay.turn()
    open_before = [row.id for row in (await fleet.jobs(limit=100)).jobs if not row.status.is_final]
    assert info.jobs[1].id in open_before

    await player.end(lane, info.jobs[0].id, token)
    for _ in range(3):
        relay._swept = 0
        await relay.turn()
        await finish(player, relay, DEFAULT, OTHER)

    rows = (await fleet.jobs(limit=100)).jobs
    assert [row.id for row in rows if not row.status.is_final] == []
    assert await status(fleet, *[one.id for one in info.jobs]) == ["completed", "completed"]
    added = {row.status for row in rows} - {row.status for row in rows if row.id in {one.id for one in info.jobs}}
    assert len(added) <= 1, "all of them have run, or none"


async def test_a_flow_that_is_let_go_gets_no_more(fleet: AsyncFleet, store: AsyncStore, player: Player) -> None:
    info, _, _ = await growing(fleet, player)

    with pytest.raises(InvalidJob, match="Nothing is known of the flow 'none' any more; nothing can be added to it"):
        await fleet._do(extend_flow(fleet.context, info.jobs[0].id, "none", wish()))
    assert len((await fleet.flows.get(info.id)).jobs) == 2


async def test_more_than_a_flow_may_get_is_refused(
    fleet: AsyncFleet, store: AsyncStore, player: Player, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(calls, "ADDED_MOST", 5)
    info, _, _ = await growing(fleet, player)
    await cut(fleet, store, info, 100)

    with pytest.raises(
        InvalidJob, match=r"4 jobs were added to the flow .*, and 4 more are too many; the maximum is 5"
    ):
        await fleet._do(extend_flow(fleet.context, info.jobs[1].id, info.id, wish()))
    assert KEYS.flow_more(info.id)


async def test_who_joins_waits_for_no_more_than_may_be(
    fleet: AsyncFleet, player: Player, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("jobfleet.operations.flows.extend.PARENTS_MOST", 3)
    info, _, _ = await growing(fleet, player)

    with pytest.raises(InvalidJob, match=f"{info.jobs[1].id} would wait for more than 3 jobs"):
        await fleet._do(extend_flow(fleet.context, info.jobs[0].id, info.id, wish()))
