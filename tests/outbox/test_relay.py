"""The relay: each committed row becomes one job under its id, whatever dies in between; bad rows stop no others."""

from __future__ import annotations

import asyncio
import base64
import logging
from collections.abc import Callable
from contextlib import closing
from typing import Any

import msgpack
import pytest
import redis
from sqlalchemy import Engine, text
from sqlalchemy.orm import Session

from jobfleet import After, AsyncFleet, Fleet, Job, JobNotFound, JobStatus
from jobfleet.contrib import outbox
from jobfleet.operations import outbox as sending
from jobfleet.outbox.rows import OutboxRows
from jobfleet.outbox.statements import Verdict
from jobfleet.services.duties import outbox as duty
from jobfleet.services.duties.outbox import Outbox
from tests.outbox.conftest import Make, counted
from tests.support.mariadb import MariaDb
from tests.support.postgres import Postgres

pytestmark = [
    pytest.mark.filterwarnings("ignore:No worker has published:UserWarning"),
    # A driver of MySQL leaves sockets open that do not connect.
    pytest.mark.filterwarnings("ignore:unclosed .socket:ResourceWarning"),
]
EngineOf = Callable[[str], Engine]


def job(number: int = 1, **options: Any) -> Job:
    return Job("send", "mail.send", (number,), **{"queue": "mail", **options})


async def settled(relay: Outbox) -> None:
    """Turn until no row is due."""
    while await relay._source.claim(1):
        await relay._source.release()
        await relay.turn()


def write(engine: Engine, fleet: Fleet, *jobs: Job) -> list[str]:
    with Session(engine) as session, session.begin():
        return outbox.enqueue_many(session, jobs, fleet=fleet)


def enqueued(fleet: Fleet) -> int:
    return sum(queue.totals["enqueued"] for queue in fleet.queues())


async def test_committed_rows_become_jobs_in_their_order_and_others_do_not(
    fleet: Fleet, url: str, engine_of: EngineOf, relay: Make
) -> None:
    engine = engine_of(url)
    ids = write(engine, fleet, *(job(number) for number in range(40)), job(99, queue="other"))
    with Session(engine) as session:
        rolled_back = outbox.enqueue(session, job(100), fleet=fleet)
        session.rollback()

    await settled(one := relay(url))

    assert fleet.poll(ids[-1]).queue == "other"
    jobs = fleet.jobs(queue="mail").jobs
    assert [found.id for found in jobs] == ids[:-1]
    with pytest.raises(JobNotFound):
        fleet.poll(rolled_back)
    assert (counted(one), enqueued(fleet)) == ({"enqueued": 41}, 41)
    with closing(OutboxRows(url, "jobfleet")) as rows:
        assert rows.counts() == (0, 0, 0.0, 0.0, "")


async def test_options_travel_and_times_count_from_the_writing(
    fleet: Fleet, url: str, engine_of: EngineOf, relay: Make
) -> None:
    engine = engine_of(url)
    soon, overdue, tagged = write(
        engine, fleet, job(1, delay=3600), job(2, delay=60), job(3, tags=["eu"], user="ann", group="g", expires_in=60)
    )
    with engine.begin() as connection:
        connection.execute(text("UPDATE jobfleet_outbox SET created_us = created_us - 120000000"))

    await settled(relay(url))

    later = fleet.poll(soon)
    assert later.status is JobStatus.SCHEDULED
    assert later.scheduled_at is not None
    assert later.enqueued_at is not None
    assert 3470 < (later.scheduled_at - later.enqueued_at).total_seconds() < 3490
    assert fleet.poll(overdue).status is JobStatus.QUEUED
    found = fleet.details(tagged)
    assert (found.job.tags, found.job.user, found.job.group) == (("eu",), "ann", "g")
    assert found.expires_at is not None
    assert (found.expires_at - later.enqueued_at).total_seconds() < 30  # not 60 s after the relay


@pytest.mark.parametrize("step", ["claimed", "enqueued"])
async def test_a_relay_that_dies_between_two_steps_leaves_one_job_to_the_next(
    fleet: Fleet, url: str, engine_of: EngineOf, relay: Make, step: str
) -> None:
    ids = write(engine_of(url), fleet, *(job(number) for number in range(5)))
    dying = relay(url)
    rows = await dying._source.claim(3)
    assert [row.id for row in rows] == ids[:3]
    if step == "enqueued":
        await dying._enqueue(rows, {})
    await dying._source.close()

    await settled(relay(url))

    assert [found.id for found in fleet.jobs(queue="mail").jobs] == ids
    assert enqueued(fleet) == 5


async def test_relays_share_an_outbox_and_none_waits_for_another(
    fleet: Fleet, url: str, engine_of: EngineOf, relay: Make
) -> None:
    ids = write(engine_of(url), fleet, *(job(number) for number in range(6)))
    first, second = relay(url), relay(url)
    held = await first._source.claim(2)

    others = await second._source.claim(10)

    if url.startswith("sqlite"):  # no locks: both see all rows, and the ids make one job of each
        assert [row.id for row in others] == ids
    else:
        assert [row.id for row in (*held, *others)] == ids
    await asyncio.gather(first._relay(held), second._relay(others))
    assert enqueued(fleet) == 6
    with closing(OutboxRows(url, "jobfleet")) as rows:
        assert rows.counts().waiting == 0


async def test_bad_rows_are_marked_and_all_others_relayed(
    fleet: Fleet, url: str, engine_of: EngineOf, relay: Make, caplog: pytest.LogCaptureFixture
) -> None:
    engine = engine_of(url)
    ids = write(engine, fleet, *(job(number) for number in range(6)))
    form = msgpack.packb((1, 2, "", "", "", None, "", [], b"no envelope"))
    bad = {ids[0]: b"\xc1", ids[1]: form, ids[2]: msgpack.packb((2, "of the future"))}
    with engine.begin() as connection:
        for job_id, bytes_ in bad.items():
            connection.execute(
                text("UPDATE jobfleet_outbox SET job = :job WHERE id = :id"), {"job": bytes_, "id": job_id}
            )
        connection.execute(text("UPDATE jobfleet_outbox SET id = 'no id' WHERE id = :id"), {"id": ids[3]})
        connection.execute(text("UPDATE jobfleet_outbox SET id = 'mail.7.x' WHERE id = :id"), {"id": ids[4]})

    await settled(one := relay(url, max_payload=2048))
    with closing(OutboxRows(url, "jobfleet")) as rows:
        refused = {row.id: row.error for row in rows.listed(refused=True)}
        assert rows.full_ids([*(one[-8:] for one in refused), "100%_!"]) == [*refused, "100%_!"]
        counts = rows.counts()

    assert set(refused) == {*ids[:3], "no id", "mail.7.x"}
    assert (counts.waiting, counts.refused, counts.error) == (0, 5, refused[ids[0]])
    assert "not msgpack" in refused[ids[0]]
    assert refused[ids[2]].endswith("Upgrade the reaper, then run 'jobfleet outbox retry'.")
    assert "home lanes of 1" in refused["mail.7.x"]
    assert [found.id for found in fleet.jobs().jobs] == [ids[5]]
    assert counted(one) == {"refused": 5, "enqueued": 1}
    assert caplog.text.count("outbox.refused") == 5


async def test_a_row_that_breaks_the_relay_itself_is_refused_alone(
    fleet: Fleet, sqlite_url: str, engine_of: EngineOf, relay: Make, monkeypatch: pytest.MonkeyPatch
) -> None:
    ids = write(engine_of(sqlite_url), fleet, *(job(number) for number in range(3)))
    real = sending.relay

    def breaking(context: Any, rows: Any, outcomes: Any) -> Any:
        if any(row.id == ids[1] for row in rows):
            raise ZeroDivisionError("of the test")
        return real(context, rows, outcomes)

    monkeypatch.setattr(duty, "relay", breaking)
    await settled(relay(sqlite_url))

    assert {found.id for found in fleet.jobs().jobs} == {ids[0], ids[2]}
    with closing(OutboxRows(sqlite_url, "jobfleet")) as rows:
        (row,) = rows.listed()
        assert (row.id, row.is_refused, row.error) == (ids[1], True, "ZeroDivisionError: of the test")


async def test_rows_that_are_too_large_for_the_fleet_or_have_no_queue_left_are_refused(
    fleet: Fleet, afleet: AsyncFleet, sqlite_url: str, engine_of: EngineOf, relay: Make
) -> None:
    large, other, good = write(
        engine_of(sqlite_url), fleet, Job("send", "mail.send", ("x" * 4096,), queue="mail"), job(queue="new"), job()
    )
    await afleet.enqueue(job(0))

    await settled(relay(sqlite_url, max_payload=2048, max_queues=1))

    with closing(OutboxRows(sqlite_url, "jobfleet")) as rows:
        refused = {row.id: row.error for row in rows.listed()}
    assert set(refused) == {large, other}
    assert "max_payload" in refused[large]
    assert "max_queues" in refused[other]
    assert fleet.poll(good).status is JobStatus.QUEUED


async def test_unique_keys_keep_their_policies(
    fleet: Fleet, afleet: AsyncFleet, sqlite_url: str, engine_of: EngineOf, relay: Make
) -> None:
    holder = await afleet.enqueue(job(0, unique="k"))
    existing, raising = write(engine_of(sqlite_url), fleet, job(1, unique="k"), job(2, unique="k", on_conflict="raise"))
    (replacing,) = write(engine_of(sqlite_url), fleet, job(3, unique="k", on_conflict="replace"))

    await settled(one := relay(sqlite_url))

    assert counted(one) == {"held": 1, "refused": 1, "enqueued": 1}
    assert fleet.poll(replacing).status is JobStatus.QUEUED
    assert fleet.poll(holder).status is JobStatus.CANCELLED
    with pytest.raises(JobNotFound):
        fleet.poll(existing)
    with closing(OutboxRows(sqlite_url, "jobfleet")) as rows:
        assert [row.id for row in rows.listed(refused=True)] == [raising]


async def test_a_dependant_waits_for_a_parent_of_the_same_transaction_or_of_a_later_one(
    fleet: Fleet, sqlite_url: str, engine_of: EngineOf, relay: Make
) -> None:
    parent, late = job(1), job(2)
    engine = engine_of(sqlite_url)
    _, child = write(engine, fleet, parent, job(3, depends_on=[f"mail.0.{parent.suffix}"]))
    (orphan,) = write(engine, fleet, job(4, depends_on=[After(f"mail.0.{late.suffix}", otherwise="run")]))
    one = relay(sqlite_url)
    await settled(one)
    assert counted(one) == {"enqueued": 2, "postponed": 1}
    assert fleet.poll(child).status is JobStatus.BLOCKED

    write(engine, fleet, late)
    with closing(OutboxRows(sqlite_url, "jobfleet")) as rows:
        assert "No job" in rows.counts().error
        assert rows.retry(None) == 1
    await settled(one)

    assert fleet.poll(orphan).status is JobStatus.BLOCKED
    with engine.begin() as connection:  # a row does not wait for ever for a parent that does not come
        outbox.enqueue(connection, job(5, depends_on=["mail.0.never"]), fleet=fleet)
        connection.execute(text("UPDATE jobfleet_outbox SET created_us = created_us - 301000000, tries = 10"))
    await settled(one)
    assert counted(one)["refused"] == 1


async def test_lanes_follow_from_the_setting_and_a_wrong_one_is_refused(
    fleet: Fleet, sqlite_url: str, engine_of: EngineOf, relay: Make, redis_url: str
) -> None:
    with Fleet(redis_url, lanes={"wide": 4}) as wide:
        ids = write(engine_of(sqlite_url), wide, *(job(n, queue="wide", group=f"g{n}") for n in range(8)))
        write(engine_of(sqlite_url), fleet, *(job(n, queue="wide", group=f"g{n}") for n in range(8)))
        assert len({job_id.split(".")[1] for job_id in ids}) > 1

        await settled(one := relay(sqlite_url, lanes={"wide": 4}))

        counts = counted(one)
        assert counts["enqueued"] >= 8
        assert counts["refused"] >= 1
        assert counts["enqueued"] + counts["refused"] == 16
        assert all(fleet.poll(job_id).status is JobStatus.QUEUED for job_id in ids)


async def test_lanes_that_have_grown_since_the_relay_read_them_are_read_again(
    fleet: Fleet, sqlite_url: str, engine_of: EngineOf, relay: Make, redis_url: str
) -> None:
    engine = engine_of(sqlite_url)
    write(engine, fleet, job(0))
    await settled(one := relay(sqlite_url))

    with Fleet(redis_url, lanes={"mail": 4}) as wide:
        await asyncio.to_thread(wide.enqueue, job(1))
        ids = write(engine, wide, *(job(n) for n in range(8)))
    await settled(one)

    assert counted(one) == {"enqueued": 9}
    assert len({job_id.split(".")[1] for job_id in ids}) > 1


async def test_sealed_rows_are_opened_and_forged_ones_refused(
    redis_url: str, sqlite_url: str, engine_of: EngineOf, relay: Make
) -> None:
    keys: dict[str, Any] = {"keyring": "keys:main=" + base64.b64encode(bytes(32)).decode(), "encrypt": "require"}
    with Fleet(redis_url, **keys) as sealed, Fleet(redis_url) as plain:
        engine = engine_of(sqlite_url)
        (good,) = write(engine, sealed, Job("send", "mail.send", ("secret text",), queue="mail"))
        (forged,) = write(engine, plain, job(2))
        with engine.begin() as connection:
            (stored,) = connection.execute(text("SELECT job FROM jobfleet_outbox WHERE id = :id"), {"id": good}).one()
        assert b"secret text" not in stored

        await settled(one := relay(sqlite_url, **keys))

        assert counted(one) == {"enqueued": 1, "refused": 1}
        assert sealed.details(good).args == ("secret text",)
        with closing(OutboxRows(sqlite_url, "jobfleet")) as rows:
            assert [row.id for row in rows.listed()] == [forged]


async def test_an_announcement_wakes_the_relay_and_a_rollback_does_not(
    fleet: Fleet, postgres_url: str, engine_of: EngineOf, relay: Make, monkeypatch: pytest.MonkeyPatch
) -> None:
    one = relay(postgres_url)
    await settled(one)
    await one._source.wait(0.0)
    calls: list[str] = []
    waiting = asyncio.ensure_future(_noted(one, calls))
    await asyncio.sleep(0)
    with Session(engine_of(postgres_url)) as session:
        outbox.enqueue(session, job(1), fleet=fleet)
        session.rollback()
    await asyncio.sleep(0)
    (job_id,) = await asyncio.to_thread(write, engine_of(postgres_url), fleet, job(2))

    await asyncio.wait_for(waiting, 60)
    await settled(one)

    assert calls == ["announced"]
    assert [found.id for found in fleet.jobs().jobs] == [job_id]


async def _noted(one: Outbox, calls: list[str]) -> None:
    await one._source.wait(600.0)
    calls.append("announced")


async def test_while_a_database_is_away_the_relay_retries_and_continues(
    fleet: Fleet, url: str, engine_of: EngineOf, relay: Make, request: pytest.FixtureRequest,
    caplog: pytest.LogCaptureFixture,
) -> None:  # fmt: skip
    caplog.set_level(logging.INFO, "jobfleet.outbox")
    if url.startswith("sqlite"):
        pytest.skip("A file has no server.")
    one = relay(url)
    (before,) = write(engine_of(url), fleet, job(1))
    rows = await one._source.claim(5)
    await one._enqueue(rows, {})
    server: Postgres | MariaDb = request.getfixturevalue("postgres" if "postgres" in url else "maria")
    server.stop()
    try:
        with pytest.raises(ConnectionError, match="No outbox at"):
            await one._source.finish(Verdict(done=[rows[0].seq]))
        assert await one.turn() == duty.FIRST_PAUSE
        assert await one.turn() == 2 * duty.FIRST_PAUSE
    finally:
        server.start()

    await settled(one)

    assert [found.id for found in fleet.jobs().jobs] == [before]
    assert enqueued(fleet) == 1
    assert caplog.text.count("outbox.away") == 1
    await one.turn()
    assert "outbox.back" in caplog.text


async def test_while_redis_is_full_rows_stay(
    fleet: Fleet, afleet: AsyncFleet, url: str, engine_of: EngineOf, relay: Make, raw: redis.Redis
) -> None:
    ids = write(engine_of(url), fleet, job(1), job(2))
    await afleet.enqueue(job(0))
    one = relay(url)
    before = raw.config_get("maxmemory")["maxmemory"]
    raw.config_set("maxmemory", "1")
    try:
        with pytest.raises(Exception, match="memory"):
            await one.turn()
    finally:
        raw.config_set("maxmemory", before or "0")

    await settled(one)

    assert {found.id for found in fleet.jobs().jobs} >= set(ids)


async def test_a_table_that_does_not_exist_is_named_with_its_remedy(
    url: str, engine_of: EngineOf, relay: Make, caplog: pytest.LogCaptureFixture
) -> None:
    with engine_of(url).begin() as connection:
        connection.execute(text("DROP TABLE jobfleet_outbox"))

    assert await relay(url).turn() > 0

    assert "run 'jobfleet outbox init'" in caplog.text
