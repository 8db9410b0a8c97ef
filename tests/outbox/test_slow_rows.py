"""Rows that take long or wait long, and ends in the middle: nothing hangs, and nothing is given up too early."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from contextlib import closing
from typing import Any

import pytest
from sqlalchemy import Engine, event, text
from sqlalchemy.orm import Session

from jobfleet import Fleet, Job, JobStatus, StoreUnavailable
from jobfleet.contrib import outbox
from jobfleet.operations import outbox as sending
from jobfleet.outbox import OutboxUnavailable
from jobfleet.outbox.postgres import ListeningSource
from jobfleet.outbox.rows import OutboxRows, open_engine
from jobfleet.services.duties import outbox as duty
from tests.outbox.conftest import Make, counted

pytestmark = pytest.mark.filterwarnings("ignore:No worker has published:UserWarning")
EngineOf = Callable[[str], Engine]


def job(number: int = 1, **options: Any) -> Job:
    return Job("send", "mail.send", (number,), **{"queue": "mail", **options})


def write(engine: Engine, fleet: Fleet, *jobs: Job) -> list[str]:
    with Session(engine) as session, session.begin():
        return outbox.enqueue_many(session, jobs, fleet=fleet)


async def test_a_relay_ends_although_it_cannot_release_its_rows(
    fleet: Fleet, sqlite_url: str, engine_of: EngineOf, relay: Make, monkeypatch: pytest.MonkeyPatch
) -> None:
    write(engine_of(sqlite_url), fleet, job())
    one = relay(sqlite_url)
    claimed = asyncio.Event()

    async def hanging(*_: object) -> None:
        claimed.set()
        await asyncio.Event().wait()

    async def broken() -> None:
        raise OutboxUnavailable("of the test")

    monkeypatch.setattr(duty, "drive", hanging)
    monkeypatch.setattr(one._source, "release", broken)
    turning = asyncio.ensure_future(one.turn())
    await asyncio.wait_for(claimed.wait(), 60)

    turning.cancel()

    with pytest.raises(asyncio.CancelledError):
        await asyncio.wait_for(turning, 60)


async def test_after_a_timeout_what_is_done_is_recorded_and_fewer_rows_are_claimed(
    fleet: Fleet, url: str, engine_of: EngineOf, relay: Make, monkeypatch: pytest.MonkeyPatch
) -> None:
    parent = job(0)
    engine = engine_of(url)
    ids = write(engine, fleet, parent, *(job(n, depends_on=[f"mail.0.{parent.suffix}"]) for n in range(1, 8)))
    one = relay(url)
    real, timeout = sending._submit_dependant, asyncio.timeout
    limits: list[asyncio.Timeout] = []
    taken: list[str] = []

    def noted(delay: float | None) -> asyncio.Timeout:
        made = timeout(delay)
        if delay == duty.ANSWER:
            limits.append(made)
        return made

    def slow(context: Any, order: Any, *rest: Any) -> Any:
        outcome = yield from real(context, order, *rest)
        taken.append(order.sent.entry.id)
        if len(taken) == 3:
            limits[0].reschedule(asyncio.get_running_loop().time())  # the next call is one too many
        return outcome

    monkeypatch.setattr(asyncio, "timeout", noted)
    monkeypatch.setattr(sending, "_submit_dependant", slow)
    with pytest.raises(StoreUnavailable, match="have taken 4 of 8 rows"):
        await one.turn()

    assert (one._count, counted(one)) == (4, {"enqueued": 4})
    with closing(OutboxRows(url, "jobfleet")) as rows:
        assert [row.id for row in rows.listed()] == ids[4:]

    await one.turn()

    assert {fleet.poll(job_id).status for job_id in ids[1:]} == {JobStatus.BLOCKED}
    assert counted(one) == {"enqueued": 4}


async def test_after_an_outage_a_dependant_waits_for_its_parent_again(
    fleet: Fleet, sqlite_url: str, engine_of: EngineOf, relay: Make
) -> None:
    parent = job(0)
    engine = engine_of(sqlite_url)
    (child,) = write(engine, fleet, job(1, depends_on=[f"mail.0.{parent.suffix}"]))
    with engine.begin() as connection:
        connection.execute(text("UPDATE jobfleet_outbox SET created_us = created_us - 3600000000"))

    await relay(sqlite_url).turn()

    with closing(OutboxRows(sqlite_url, "jobfleet")) as rows:
        (row,) = rows.listed()
    assert (row.id, row.is_refused, row.tries) == (child, False, 1)


@pytest.mark.parametrize("is_refused", [False, True])
async def test_a_dependant_waits_as_long_as_its_parent_is_a_row_that_waits(
    fleet: Fleet, url: str, engine_of: EngineOf, relay: Make, *, is_refused: bool
) -> None:
    parent = job(0)
    engine = engine_of(url)
    (parent_id,) = write(engine, fleet, parent)
    (child,) = write(engine, fleet, job(1, depends_on=[f"mail.0.{parent.suffix}", "mail.0.other"]))
    late = "retry_us = 9000000000000000" + (", failed_us = 1" if is_refused else "")
    with engine.begin() as connection:
        connection.execute(text("UPDATE jobfleet_outbox SET created_us = created_us - 3600000000, tries = 10"))
        connection.execute(text(f"UPDATE jobfleet_outbox SET {late} WHERE id = :id"), {"id": parent_id})

    await (one := relay(url)).turn()

    assert counted(one) == {"refused" if is_refused else "postponed": 1}
    with closing(OutboxRows(url, "jobfleet")) as rows:
        assert [(row.id, row.is_refused) for row in rows.listed()] == [(parent_id, is_refused), (child, is_refused)]


async def test_a_connection_whose_host_vanishes_ends(postgres_url: str, relay: Make) -> None:
    one = relay(f"{postgres_url}&keepalives_idle=7" if "?" in postgres_url else f"{postgres_url}?keepalives_idle=7")
    await one.turn()

    source = one._source
    assert isinstance(source, ListeningSource)
    assert source._connection is not None
    given = source._connection.info.get_parameters()

    assert {name: given[name] for name in ("keepalives_idle", "keepalives_count", "tcp_user_timeout")} == {
        "keepalives_idle": "7",
        "keepalives_count": "3",
        "tcp_user_timeout": "30000",
    }
    mysql = open_engine("mysql://user@host/shop")
    assert mysql.dialect.create_connect_args(mysql.url)[1].items() >= {"read_timeout": 60, "write_timeout": 60}.items()


async def test_the_rows_are_counted_in_the_index_alone(fleet: Fleet, sqlite_url: str, engine_of: EngineOf) -> None:
    write(engine_of(sqlite_url), fleet, job())
    asked: list[str] = []
    with closing(OutboxRows(sqlite_url, "jobfleet")) as rows:
        event.listen(rows.engine, "before_cursor_execute", lambda *call: asked.append(call[2]))
        assert rows.counts()[:2] == (1, 0)
        first = asked[0]

        with rows.engine.connect() as connection:
            plan = connection.exec_driver_sql(f"EXPLAIN QUERY PLAN {first}", ("jobfleet",)).all()

    assert "COVERING INDEX jobfleet_outbox_waiting" in str(plan)
