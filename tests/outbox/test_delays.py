"""The log of the relay about rows that it tries again later."""

from __future__ import annotations

import logging
from collections.abc import Callable
from contextlib import closing
from typing import Any

import pytest
from sqlalchemy import Engine
from sqlalchemy.orm import Session

from jobfleet import Fleet, Job
from jobfleet.contrib import outbox
from jobfleet.operations import outbox as sending
from jobfleet.operations.outbox import Fate, Outcome
from jobfleet.outbox.rows import OutboxRows
from jobfleet.services.duties import outbox as duty
from tests.outbox.conftest import Make

EngineOf = Callable[[str], Engine]


async def test_a_delay_is_logged_once_per_cause_and_when_it_ends(
    fleet: Fleet, sqlite_url: str, engine_of: EngineOf, relay: Make, monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:  # fmt: skip
    caplog.set_level(logging.INFO, "jobfleet.outbox")
    with Session(engine_of(sqlite_url)) as session, session.begin():
        jobs = [Job("send", "mail.send", (number,), queue="mail") for number in range(7)]
        ids = outbox.enqueue_many(session, jobs, fleet=fleet)
    errors = dict.fromkeys(ids, "The disk is full.")
    real = sending.relay

    def held(context: Any, rows: Any, outcomes: Any) -> Any:
        free = [place for place, row in enumerate(rows) if row.id not in errors]
        done: dict[int, Outcome] = {}
        yield from real(context, [rows[place] for place in free], done)
        outcomes.update({free[at]: one for at, one in done.items()})
        for place, row in enumerate(rows):
            if row.id in errors:
                outcomes[place] = Outcome(Fate.POSTPONED, errors[row.id], errors[row.id][:6])

    monkeypatch.setattr(duty, "relay", held)
    one = relay(sqlite_url)

    async def lines() -> list[str]:
        with closing(OutboxRows(sqlite_url, "jobfleet")) as rows:
            rows.retry(None)
        caplog.clear()
        await one.turn()
        return [record.getMessage() for record in caplog.records if "outbox." in record.getMessage()]

    one._count = 4
    assert await lines() == [f"outbox.delayed id={ids[0]} and 3 more rows: The disk is full."]
    assert await lines() == []  # all seven
    errors[ids[0]], errors[ids[1]] = "No job a to wait for.", "No job b to wait for."
    assert await lines() == [f"outbox.delayed id={ids[0]} and 1 more row: No job a to wait for."]
    for job_id in ids[1:]:
        errors.pop(job_id)
    (ended,) = await lines()
    assert ended.startswith("outbox.in_time after=")
    assert ended.endswith("failures=3")  # tries, whatever the number of rows
    errors.clear()
    (ended,) = await lines()
    assert ended.endswith("failures=2")
    assert one._delays == {}
    assert len(fleet.jobs(queue="mail").jobs) == 7
