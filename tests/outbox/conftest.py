"""What the tests of the outbox start from: databases of each kind, a fleet, and relays."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import Engine, create_engine

from jobfleet import Fleet
from jobfleet.contrib import outbox
from jobfleet.metrics.tally import Tally
from jobfleet.outbox.rows import open_engine
from jobfleet.services.duties.outbox import Outbox
from jobfleet.store.aio import AsyncStore
from tests.support import mariadb
from tests.support.mariadb import MariaDb
from tests.support.postgres import Postgres

DATABASES = ("sqlite", "postgresql", "mariadb")
Make = Callable[..., Outbox]


@pytest.fixture(autouse=True)
def unasked(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    """No test but those of the hint asks whether a reaper relays its rows."""
    if "asked" not in request.fixturenames:
        monkeypatch.setattr(outbox, "_is_first", lambda *_: False)


@pytest.fixture(scope="session")
def maria() -> Iterator[MariaDb]:
    """A server of MariaDB for the session."""
    yield from mariadb.serving()


def database(request: pytest.FixtureRequest, kind: str, folder: Path) -> str:
    """The URL of a database of a kind, with the table."""
    if kind == "sqlite":
        url = f"sqlite:///{folder / 'outbox.db'}"
    else:
        server: Postgres | MariaDb = request.getfixturevalue("postgres" if kind == "postgresql" else "maria")
        url = server.database()
    outbox.create_tables(url)
    return url


@pytest.fixture(params=DATABASES)
def url(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    """The URL of a database of each kind, with the table."""
    return database(request, request.param, tmp_path)


@pytest.fixture
def sqlite_url(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    """The URL of an SQLite file with the table."""
    return database(request, "sqlite", tmp_path)


@pytest.fixture
def postgres_url(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    """The URL of a PostgreSQL database with the table."""
    return database(request, "postgresql", tmp_path)


@pytest.fixture
def engine_of() -> Iterator[Callable[[str], Engine]]:
    """Opens engines as a program does, and disposes them."""
    made: list[Engine] = []

    def engine(url: str) -> Engine:
        made.append(create_engine(open_engine(url).url))
        return made[-1]

    yield engine
    for one in made:
        one.dispose()


@pytest.fixture
async def relay(store: AsyncStore, fleet: Fleet) -> AsyncIterator[Make]:
    """Makes relays, each as in a reaper of its own."""
    made: list[Outbox] = []

    def one(url: str, **settings: Any) -> Outbox:
        chosen = {**fleet.context.config.plain(url=fleet.context.config.url), "outbox_url": url, **settings}
        made.append(Outbox(store, type(fleet.context.config)(**chosen), Tally()))
        return made[-1]

    yield one
    for duty in made:
        await duty.stop()


def counted(duty: Outbox) -> dict[str, float]:
    """The outcomes that a relay has counted since the last call."""
    return {row[1][0]: row[2] for row in duty.tally.take() if row[0] == "sql_outbox_jobs_total"}  # type: ignore[misc]
