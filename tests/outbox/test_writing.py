"""Writing: a job is a row of the caller's transaction, whatever the connection is, and is checked like an enqueue."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from contextlib import closing

import pytest
from sqlalchemy import Engine, MetaData, inspect, make_url, text
from sqlalchemy.ext.asyncio import (
    AsyncConnection,
    AsyncSession,
    async_scoped_session,
    async_sessionmaker,
    create_async_engine,
)
from sqlalchemy.orm import Session, scoped_session, sessionmaker
from sqlalchemy.schema import CreateTable

from jobfleet import ConfigError, EncodingError, Fleet, InvalidJob, Job
from jobfleet.contrib import outbox
from jobfleet.functions.registry import Registry
from jobfleet.model import Priority
from jobfleet.operations.outbox import unpack
from jobfleet.outbox import OutboxUnavailable
from jobfleet.outbox.rows import OutboxRows
from jobfleet.outbox.statements import Listed

EngineOf = Callable[[str], Engine]


@pytest.fixture
def away() -> Fleet:
    """A fleet whose Redis does not exist: writing a row must not need it."""
    fleet = Fleet("redis://127.0.0.1:1", registry=Registry())

    @fleet.job(name="mail.send", queue="mail", priority=Priority.HIGH, unique="mail-{to}")
    def send(to: str, again: bool = False) -> None:
        """Send."""

    return fleet


def job(number: int = 1, **options: object) -> Job:
    return Job("send", "mail.send", (number,), **options)  # type: ignore[arg-type]  # checked by Job


def rows(url: str) -> list[Listed]:
    with closing(OutboxRows(url, "jobfleet")) as found:
        return found.listed()


def test_a_row_commits_and_rolls_back_with_the_callers_transaction(away: Fleet, url: str, engine_of: EngineOf) -> None:
    engine = engine_of(url)
    with Session(engine) as session, session.begin():
        committed = outbox.enqueue(session, job(1), fleet=away)
    with Session(engine) as session:
        outbox.enqueue(session, job(2), fleet=away)
        session.rollback()
    with engine.begin() as connection:
        by_connection = outbox.enqueue(connection, job(3), fleet=away)
    scoped = scoped_session(sessionmaker(engine))
    many = outbox.enqueue_many(scoped, [job(4), job(5)], fleet=away, notify=False)
    scoped.commit()
    scoped.remove()

    found = rows(url)

    assert [row.id for row in found] == [committed, by_connection, *many]
    assert all((row.tries, row.is_refused, row.error) == (0, False, "") and 0 <= row.age < 60 for row in found)
    order = unpack(away.context, found[0].id, found[0].job)
    assert (order.sent.lane.queue, order.sent.entry.band, order.place) == ("mail", Priority.HIGH.band, "mail-1")


@pytest.mark.parametrize("kind", ["sqlite", "postgresql"])
async def test_awaited_sessions_write_rows_too(away: Fleet, request: pytest.FixtureRequest, kind: str) -> None:
    url: str = request.getfixturevalue("sqlite_url" if kind == "sqlite" else "postgres_url")
    driver = "sqlite+aiosqlite" if kind == "sqlite" else "postgresql+psycopg"
    engine = create_async_engine(url.replace(kind, driver, 1))
    async with AsyncSession(engine) as session, session.begin():
        first = await outbox.enqueue(session, job(1), fleet=away)
    async with AsyncSession(engine) as session:
        await outbox.enqueue(session, job(2), fleet=away)
        await session.rollback()
    async with engine.begin() as connection:
        assert isinstance(connection, AsyncConnection)
        second = await outbox.enqueue(connection, job(3), fleet=away)
    scoped = async_scoped_session(async_sessionmaker(engine), asyncio.current_task)
    third = await outbox.enqueue_many(scoped, [job(4)], fleet=away)
    await scoped.commit()
    await scoped.remove()
    await engine.dispose()

    assert [row.id for row in rows(url)] == [first, second, *third]


@pytest.mark.parametrize(
    ("options", "field"),
    [
        ({"cron_expression": "* * * * *"}, "cron_expression"),
        ({"on_success": Job("a", "x.y")}, "on_success"),
        ({"on_failure": Job("a", "x.y")}, "on_failure"),
        ({"tz": "UTC"}, "tz"),
    ],
)
def test_what_only_redis_can_keep_is_refused_and_nothing_is_written(
    away: Fleet, sqlite_url: str, engine_of: EngineOf, options: dict[str, object], field: str
) -> None:
    with engine_of(sqlite_url).begin() as connection, pytest.raises(InvalidJob) as refused:
        outbox.enqueue_many(connection, [job(1), job(2, **options)], fleet=away)

    assert refused.value.field == field
    assert rows(sqlite_url) == []


def test_wrong_jobs_and_connections_are_refused_where_they_are_written(
    away: Fleet, sqlite_url: str, engine_of: EngineOf
) -> None:
    with engine_of(sqlite_url).begin() as connection:
        with pytest.raises(EncodingError, match="args"):
            outbox.enqueue(connection, Job("send", "mail.send", (object(),)), fleet=away)
        with pytest.raises(EncodingError, match="max_payload"):
            outbox.enqueue(connection, Job("other", "other.function", ("x" * 2**21,), queue="q"), fleet=away)
        with pytest.raises(InvalidJob, match="import its module, or give queue"):
            outbox.enqueue(connection, Job("other", "other.function"), fleet=away)
        with pytest.raises(InvalidJob, match="unique"):
            outbox.enqueue(connection, Job("other", "other.function", queue="q", on_conflict="raise"), fleet=away)
        with pytest.raises(InvalidJob, match=r"job is 'mail\.send'"):
            outbox.enqueue(connection, "mail.send", fleet=away)  # type: ignore[call-overload]
        outbox.enqueue(connection, Job("other", "other.function", queue="q"), fleet=away)
    with pytest.raises(ConfigError, match="session is 7"):
        outbox.enqueue(7, job(1), fleet=away)  # type: ignore[call-overload]
    assert [row.id.partition(".")[0] for row in rows(sqlite_url)] == ["q"]


def test_the_table_of_the_programs_migrations_is_that_of_init(url: str, engine_of: EngineOf) -> None:
    engine = engine_of(url)
    metadata = MetaData()
    table = outbox.table(metadata)
    made = inspect(engine)

    columns = {column["name"]: column for column in made.get_columns("jobfleet_outbox")}

    assert outbox.table(metadata) is table
    assert list(columns) == [column.name for column in table.columns]
    assert [columns[column.name]["nullable"] for column in table.columns if not column.primary_key] == [
        bool(column.nullable) for column in table.columns if not column.primary_key
    ]
    (index,) = made.get_indexes("jobfleet_outbox")
    (declared,) = table.indexes
    assert (index["name"], index["column_names"]) == (declared.name, [column.name for column in declared.columns])
    with engine.begin() as connection:
        connection.execute(text("DROP TABLE jobfleet_outbox"))
        metadata.create_all(connection)
    again = {column["name"]: column for column in inspect(engine).get_columns("jobfleet_outbox")}
    assert {name: str(one["type"]) for name, one in again.items()} == {
        name: str(one["type"]) for name, one in columns.items()
    }
    outbox.create_tables(engine)  # is safe to repeat
    assert "jobfleet_outbox" in str(CreateTable(table))


def test_databases_without_an_outbox_are_named() -> None:
    with pytest.raises(ConfigError, match=r"outbox_url = 'oracle://"):
        outbox.create_tables("oracle://host/x")
    with pytest.raises(ConfigError, match="give a URL or an engine"):
        outbox.create_tables(7)
    with pytest.raises(ConfigError, match="'oracle'; an outbox can be in"):
        outbox.ddl("oracle")
    with pytest.raises(ConfigError, match="outbox_url"):
        Fleet("redis://x", outbox_url="file:///x")


def test_the_right_that_a_user_lacks_to_create_the_table_is_named(postgres_url: str, engine_of: EngineOf) -> None:
    with engine_of(postgres_url).begin() as connection:
        connection.execute(text("DROP TABLE jobfleet_outbox"))
        connection.execute(text("DROP ROLE IF EXISTS visitor"))
        connection.execute(text("CREATE ROLE visitor LOGIN"))
    url = make_url(postgres_url).set(username="visitor").render_as_string(hide_password=False)

    with pytest.raises(OutboxUnavailable, match=r"permission denied for schema public.*GRANT CREATE ON SCHEMA public"):
        outbox.create_tables(url)
