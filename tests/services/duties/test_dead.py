"""The dead duty, and what notifications make of the state of a group."""

from __future__ import annotations

import asyncio
import logging

import pytest

from jobfleet import AsyncFleet
from jobfleet.config import JobConfig
from jobfleet.metrics.tally import Tally
from jobfleet.services.duties import notify
from jobfleet.services.duties.dead import Dead
from jobfleet.store.aio import AsyncStore
from tests.services.telling import KEYS, Made, Recorder, bring, fail

pytestmark = pytest.mark.filterwarnings("ignore:No worker has published:UserWarning")


def dead_duty(store: AsyncStore, redis_url: str) -> Dead:
    return Dead(store, KEYS, JobConfig(url=redis_url), Tally())


async def test_any_number_of_reapers_file_each_letter_once(
    store: AsyncStore, fleet: AsyncFleet, redis_url: str, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.WARNING, "jobfleet.reaper")
    ids = [job_id for _ in range(4) for job_id in await fail(store, fleet, 50)]

    await asyncio.gather(*(dead_duty(store, redis_url).turn() for _ in range(3)))

    (group,) = await fleet.dead_groups()
    assert group.count == len(ids) == 200
    assert [message.split()[0] for message in caplog.messages] == ["dead_letters.new_group"]
    assert len(await fleet.dead(fingerprint=group.fingerprint, limit=1000)) == 200


async def test_a_resolved_group_that_comes_back_is_told_once_for_all_reapers(
    store: AsyncStore, fleet: AsyncFleet, redis_url: str, duty: Made, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(notify, "LOOK_AT_GROUPS", 0.0)
    channel = Recorder()
    one, two = (duty(channel, events=("regressed",), window=0) for _ in range(2))
    await fail(store, fleet)
    (group,) = await fleet.dead_groups()
    await fleet.resolve(group.fingerprint)
    await bring(one)
    assert channel.sent == []

    (job_id,) = await fail(store, fleet)
    await dead_duty(store, redis_url).turn()
    await bring(one)
    await bring(two)

    (told,) = channel.sent
    assert (told.event, told.notice.job_id, told.notice.function) == ("regressed", job_id, "mail.send")
    assert (told.notice.queue, told.notice.error_class, told.notice.error) == ("mail", "ConnectionError", "refused")


async def test_an_ignored_group_sends_no_notification(store: AsyncStore, fleet: AsyncFleet, duty: Made) -> None:
    channel = Recorder()
    one = duty(channel, events=("failed",), window=0)
    await one.turn()
    await fail(store, fleet)
    (group,) = await fleet.dead_groups()
    await bring(one)
    assert len(channel.sent) == 1
    await fleet.ignore(group.fingerprint)

    await fail(store, fleet)
    (other,) = await fail(store, fleet, kind="KeyError", error="'price'")
    await bring(one)

    assert [told.notice.job_id for told in channel.sent[1:]] == [other]
    await fleet.reopen(group.fingerprint)
    await fail(store, fleet)
    await bring(one)
    assert len(channel.sent) == 3
