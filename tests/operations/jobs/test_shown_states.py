"""What lists show of jobs that wait in a run, are parked, or are callbacks: `state`, and filters by it; `approvals`."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from jobfleet import Fleet, Job, JobContext, JobStatus
from jobfleet.errors import ConfigError, InvalidJob
from jobfleet.model.status import ShownState
from jobfleet.operations.jobs.listing import beside_parents
from tests.client.either import Either, finished

pytestmark = pytest.mark.filterwarnings("ignore:No worker has published:UserWarning")


async def approve(ctx: JobContext, only_token: bool) -> Any:
    if only_token:
        ctx.token("approved")
    return await ctx.wait_for("approved", timeout="2d", only_token=only_token)


async def rest(ctx: JobContext) -> None:
    await ctx.sleep("3d")


def say(text: str) -> str:
    return text


@pytest.fixture
async def ids(client: Either, fleet: Fleet) -> dict[str, str]:
    """A job that waits for a signal, for a token, for a time, until it is due, and one that no worker knows."""
    for name, function in (("approve", approve), ("rest", rest), ("say", say)):
        fleet.context.registry.register(function, name=f"shop.{name}", fleet=fleet)
    jobs = {
        "signal": Job("Bill", "shop.approve", (False,)),
        "token": Job("Bill", "shop.approve", (True,)),
        "asleep": Job("x", "shop.rest"),
        "later": Job("x", "shop.say", ("a",), delay=3600),
        "parked": Job("x", "shop.gone"),
    }
    made = {name: await client("enqueue", job) for name, job in jobs.items()}
    await finished(fleet.run_worker, burst=True)
    return made


async def test_a_waiting_job_has_a_state_of_its_own_and_lists_filter_by_it(client: Either, ids: dict[str, str]) -> None:
    before = datetime.now(UTC) - timedelta(minutes=1)
    polled = {name: await client("poll", job_id) for name, job_id in ids.items()}
    states = {name: (str(job.status), str(job.state)) for name, job in polled.items()}

    assert states == {
        "signal": ("scheduled", "awaiting"), "token": ("scheduled", "awaiting"), "asleep": ("scheduled", "sleeping"),
        "later": ("scheduled", "scheduled"), "parked": ("retrying", "parked"),
    }  # fmt: skip
    waits = {name: (job.wait.signal, job.wait.only_token) for name, job in polled.items() if job.wait}
    assert waits == {"signal": ("approved", False), "token": ("approved", True), "asleep": ("", False)}
    assert all(before < job.wait.since <= datetime.now(UTC) for job in polled.values() if job.wait)
    for state, names in (("awaiting", {"signal", "token"}), ("sleeping", {"asleep"}), ("parked", {"parked"})):
        newest = await client("newest", status=state)
        walked = (await client("jobs", status=ShownState(state))).jobs
        assert {job.id for job in newest} == {job.id for job in walked} == {ids[name] for name in names}
        assert await client("count_open", status=state) == len(names)
    assert {job.id for job in await client("newest", status="scheduled")} == {
        ids[name] for name in ("signal", "token", "asleep", "later")
    }
    with pytest.raises(InvalidJob, match="parked, awaiting, sleeping"):
        await client("newest", status="waits")


async def test_approvals_are_what_waits_for_signals_and_one_that_is_sent_is_gone(
    client: Either, ids: dict[str, str], fleet: Fleet
) -> None:
    found = await client("approvals")
    first = await client("approvals", limit=1)

    assert ({job.id for job in found.jobs}, found.is_all) == ({ids["signal"], ids["token"]}, True)
    assert [job.wait.since for job in found.jobs] == sorted(job.wait.since for job in found.jobs)
    assert ([job.id for job in first.jobs], first.is_all) == ([found.jobs[0].id], False)
    assert (await client("approvals", "default")).jobs == found.jobs
    with pytest.raises(ConfigError):
        await client("approvals", "nowhere")

    await client("signal", ids["signal"], "approved", {"by": "ann"})
    await client("signal", ids["token"], "approved", True)  # not by its token: it waits on
    assert [job.id for job in (await client("approvals")).jobs] == [ids["token"]]
    assert (await client("poll", ids["signal"])).state is JobStatus.QUEUED


async def test_callbacks_that_are_not_needed_stand_behind_their_job(client: Either, fleet: Fleet) -> None:
    fleet.context.registry.register(say, name="shop.say", fleet=fleet)
    job = Job(
        "Mail", "shop.say", ("a",), on_success=Job("x", "shop.say", ("b",)), on_failure=Job("x", "shop.say", ("c",))
    )
    job_id = await client("enqueue", job)
    before = await client("newest")
    await finished(fleet.run_worker, burst=True)
    rows = await client("newest")

    assert {row.callback: row.callback_of for row in before if row.is_aside} == {
        "on_success": job_id,
        "on_failure": job_id,
    }
    (unneeded,) = [row for row in rows if row.is_aside]
    assert (unneeded.callback, unneeded.callback_of, unneeded.is_unneeded) == ("on_failure", job_id, True)
    for given in (rows, rows[::-1]):
        shown = beside_parents(given)
        at = [row.id for row in shown].index(job_id)
        assert shown[at + 1].id == unneeded.id
        assert sorted(row.id for row in shown) == sorted(row.id for row in rows)
    assert beside_parents([unneeded]) == [unneeded]
