"""A program that writes rows learns once that nobody relays them, and with what a missing table is made."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
from sqlalchemy import Engine, create_engine
from sqlalchemy.ext.asyncio import AsyncSession, create_async_engine
from sqlalchemy.orm import Session

from jobfleet import Fleet, Job, StoreUnavailable
from jobfleet.contrib import outbox
from jobfleet.outbox.statements import is_relayed, name_of, name_of_url
from tests.outbox.conftest import Make

EngineOf = Callable[[str], Engine]
JOB = Job("send", "mail.send", (1,), queue="mail")
NOBODY = r"No live reaper has announced that it relays the outbox in sqlite/outbox\.db, namespace 'jobfleet'"


@pytest.fixture
def asked(monkeypatch: pytest.MonkeyPatch) -> set[tuple[str, str]]:
    """Nothing was asked in this process yet."""
    found: set[tuple[str, str]] = set()
    monkeypatch.setattr(outbox, "_asked", found)
    return found


async def test_rows_that_nobody_relays_warn_once(
    fleet: Fleet, sqlite_url: str, engine_of: EngineOf, relay: Make, asked: set[tuple[str, str]]
) -> None:
    with engine_of(sqlite_url).begin() as connection:
        with pytest.warns(UserWarning, match=NOBODY) as warned:
            outbox.enqueue(connection, JOB, fleet=fleet)
        assert warned[0].filename == __file__
        outbox.enqueue(connection, JOB, fleet=fleet)
    asked.clear()
    engine = create_async_engine(sqlite_url.replace("sqlite", "sqlite+aiosqlite", 1))
    async with AsyncSession(engine) as session, session.begin():
        with pytest.warns(UserWarning, match=NOBODY):
            await outbox.enqueue(session, JOB, fleet=fleet)
    await engine.dispose()

    asked.clear()
    one = relay(sqlite_url)
    await one.turn()
    with engine_of(sqlite_url).begin() as connection:
        outbox.enqueue(connection, JOB, fleet=fleet)
    asked.clear()
    await one.stop()
    with engine_of(sqlite_url).begin() as connection, pytest.warns(UserWarning, match=NOBODY):
        outbox.enqueue(connection, JOB, fleet=fleet)


def test_nothing_is_reported_while_redis_is_away(
    sqlite_url: str, engine_of: EngineOf, asked: set[tuple[str, str]]
) -> None:
    with Fleet("redis://127.0.0.1:1") as away, engine_of(sqlite_url).begin() as connection:
        outbox.enqueue(connection, JOB, fleet=away)
    assert asked == {("jobfleet", "sqlite/outbox.db")}


def test_a_database_has_one_name_however_it_is_reached() -> None:
    assert name_of_url("sqlite:///data/shop.db") == name_of("sqlite", "/srv/data/shop.db") == "sqlite/shop.db"
    assert name_of_url("sqlite:///file:shop.db?uri=true") == name_of("sqlite", "file:shop.db") == "sqlite/shop.db"
    assert name_of_url("postgresql+psycopg://u:p@h/shop") == name_of("postgresql", "shop") == "postgresql/shop"
    assert name_of_url("postgres://h/shop?host=/run") == "postgresql/shop"
    assert name_of_url("mariadb+pymysql://h/shop") == name_of("mysql", "shop") == "mysql/shop"
    assert is_relayed("mysql/shop", ("sqlite/shop", "mysql/shop"))
    assert not is_relayed("mysql/shop", ("mysql/other", "sqlite/"))
    assert is_relayed("mysql/", ("mysql/other",))
    assert is_relayed("mysql/shop", ("mysql/",))
    assert not is_relayed("mysql/", ())


async def test_a_missing_table_is_named_with_its_remedy_where_the_row_is_written(fleet: Fleet, tmp_path: Path) -> None:
    url = f"sqlite:///{tmp_path / 'bare.db'}"
    engine = create_engine(url)
    with Session(engine) as session, pytest.raises(StoreUnavailable, match="run 'jobfleet outbox init") as caught:
        outbox.enqueue(session, JOB, fleet=fleet)
    assert "no such table" in str(caught.value.__cause__)
    engine.dispose()
    awaited = create_async_engine(url.replace("sqlite", "sqlite+aiosqlite", 1))
    async with AsyncSession(awaited) as session:
        with pytest.raises(StoreUnavailable, match="run 'jobfleet outbox init"):
            await outbox.enqueue(session, JOB, fleet=fleet)
    await awaited.dispose()


@pytest.mark.parametrize("kind", ["postgres", "maria"])
def test_servers_name_a_missing_table_too(
    fleet: Fleet, engine_of: EngineOf, request: pytest.FixtureRequest, kind: str
) -> None:
    engine = engine_of(request.getfixturevalue(kind).database())
    with engine.connect() as connection, pytest.raises(StoreUnavailable, match="run 'jobfleet outbox init"):
        outbox.enqueue(connection, JOB, fleet=fleet)


async def test_an_awaited_session_that_is_not_awaited_is_named(fleet: Fleet, sqlite_url: str) -> None:
    engine = create_async_engine(sqlite_url.replace("sqlite", "sqlite+aiosqlite", 1))
    async with AsyncSession(engine) as session:
        with pytest.warns(RuntimeWarning, match=r"write 'await outbox\.enqueue\(session") as warned:
            outbox.enqueue(session, JOB, fleet=fleet)
        assert [one.filename for one in warned] == [__file__]
        with pytest.warns(RuntimeWarning, match=r"outbox\.enqueue_many was not awaited"):
            outbox.enqueue_many(session, [JOB], fleet=fleet)
        writing = outbox.enqueue(session, JOB, fleet=fleet)
        await writing
        with pytest.raises(RuntimeError, match="awaited already"):
            await writing
        await session.rollback()
    await engine.dispose()
