"""Couriers: what a channel does with a notification, and what follows when it does not take it."""

from __future__ import annotations

import asyncio
import logging
import threading

import pytest
import redis

from jobfleet import AsyncFleet
from jobfleet.notify import DeliveryRefused, NotDelivered, Notification
from jobfleet.notify.registry import Channels
from jobfleet.services.duties import notify
from jobfleet.store.aio import AsyncStore
from tests.services.telling import KEYS, Made, Recorder, bring, counted, fail
from tests.support.waiting import await_until

pytestmark = pytest.mark.filterwarnings("ignore:No worker has published:UserWarning")


async def test_what_does_not_get_through_is_tried_again_under_the_same_id(
    store: AsyncStore, fleet: AsyncFleet, duty: Made, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(notify, "FIRST_PAUSE", 0.001)
    fates = iter([NotDelivered("busy"), ValueError("no\nluck"), None])

    def fate(_: Notification) -> None:
        error = next(fates)
        if error is not None:
            raise error

    channel = Recorder(fate=fate)
    one = duty(channel)
    await one.turn()
    await fail(store, fleet)

    async def is_told() -> bool:
        await bring(one)
        return len(channel.sent) == 3

    await await_until(is_told, why="it got through")
    assert [told.attempt for told in channel.sent] == [1, 2, 3]
    assert len({told.id for told in channel.sent}) == 1
    assert "notify.not_delivered channel=ops" in caplog.text
    assert "no luck" in caplog.text
    assert counted(one) == {("ops", "failed"): 2, ("ops", "sent"): 1}


@pytest.mark.parametrize("how", ["refused", "too old"])
async def test_it_is_given_up_loudly(
    store: AsyncStore, fleet: AsyncFleet, duty: Made, how: str, caplog: pytest.LogCaptureFixture, raw: redis.Redis
) -> None:
    def fate(_: Notification) -> None:
        raise DeliveryRefused("no such user") if how == "refused" else NotDelivered("busy")

    channel = Recorder(fate=fate)
    channel.give_up_after = 86_400.0 if how == "refused" else 0.0
    one = duty(channel)
    await one.turn()
    await fail(store, fleet)

    await bring(one)

    assert "notify.given_up channel=ops" in caplog.text
    assert len(channel.sent) == 1
    assert raw.hlen(KEYS.channel("ops").held) == 0
    assert counted(one) == {("ops", "given_up"): 1}


async def test_a_channel_that_hangs_holds_up_nothing_else(
    store: AsyncStore, fleet: AsyncFleet, duty: Made, caplog: pytest.LogCaptureFixture, raw: redis.Redis
) -> None:
    over = threading.Event()
    hanging, fine = Recorder("hanging", fate=lambda _: over.wait() and None), Recorder("fine")
    hanging.timeout = 0.05
    manager = Channels()
    for channel in (hanging, fine):
        manager.add_notification_channel(channel, window=0)
    one = duty(manager)
    await one.turn()
    ids = await fail(store, fleet, 10)
    one.start()

    async def is_told() -> bool:
        return len(fine.sent) == 10 and "notify.stuck channel=hanging 3 sends hang" in caplog.text

    with caplog.at_level(logging.WARNING):
        await await_until(is_told, timeout=30, why="the other channel has told all")
    assert sorted(told.notice.job_id for told in fine.sent) == sorted(ids)
    assert len(hanging.sent) == 3
    assert raw.hlen(KEYS.channel("hanging").held) == 10

    over.set()


async def test_reapers_that_have_other_rules_are_loud_about_it(
    store: AsyncStore, duty: Made, caplog: pytest.LogCaptureFixture
) -> None:
    alike = [duty(Recorder()), duty(Recorder())]
    for one in alike:
        await bring(one)
    assert caplog.text == ""

    other = duty(Recorder(), events=["failed"])
    await bring(other)
    await bring(other)

    assert caplog.text.count("notify.rules_differ channel=ops") == 1


async def test_a_send_may_be_async(store: AsyncStore, fleet: AsyncFleet, duty: Made) -> None:
    heard = []

    async def fate(told: Notification) -> None:
        await asyncio.sleep(0)
        heard.append(told.id)

    one = duty(Recorder(fate=fate))
    await one.turn()
    await fail(store, fleet)

    await bring(one)

    assert len(heard) == 1


async def test_a_duty_that_stops_lets_what_is_in_hand_be_brought(
    store: AsyncStore, fleet: AsyncFleet, duty: Made, raw: redis.Redis
) -> None:
    begun, may_end = threading.Event(), threading.Event()

    def fate(_: Notification) -> None:
        begun.set()
        may_end.wait()

    one = duty(Recorder(fate=fate))
    await one.turn()
    await fail(store, fleet)
    one.start()
    await asyncio.to_thread(begun.wait)

    stopping = asyncio.ensure_future(one.stop())
    may_end.set()
    await stopping

    assert raw.hlen(KEYS.channel("ops").held) == 0
