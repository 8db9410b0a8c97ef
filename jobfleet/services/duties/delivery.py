"""The sender of one notification channel: sends deliveries one by one, each at least once.

Every reaper has a sender per channel; Redis decides which sender takes a delivery. If a sender dies with a delivery,
another one sends it under the same id after the lease.
"""

from __future__ import annotations

import asyncio
import logging
import random
from contextlib import suppress

from jobfleet.clock import monotonic, span
from jobfleet.errors import JobfleetError
from jobfleet.metrics.tally import Tally
from jobfleet.notify.channel import DeliveryRefused, NotDelivered, NotificationChannel, name_of
from jobfleet.notify.notice import Notice, Notification
from jobfleet.notify.text import one_line
from jobfleet.services.service import Service
from jobfleet.services.side_thread import SideThread
from jobfleet.store.aio import AsyncStore
from jobfleet.store.calls import journal as calls
from jobfleet.store.keys import Keyspace
from jobfleet.store.rows import report, shown

log = logging.getLogger("jobfleet.reaper")
EVERY = 0.5
LEASE_MARGIN = 30.0
LEFT_BEHIND_MOST = 3
FIRST_PAUSE, LONGEST_PAUSE = 1.0, 300.0
STOP_GRACE = 3.0
LOG_EVERY = 60.0


def pause_after(attempt: int, *, asked: float = 0.0) -> float:
    """Return the seconds before a retry: doubled each time, with jitter, and at least what the receiver asked for."""
    pause = min(FIRST_PAUSE * 2.0 ** min(attempt - 1, 20), LONGEST_PAUSE)
    return max(pause * random.uniform(0.5, 1.0), asked)


class NotificationSender(Service):
    """Sends the deliveries of one channel.

    Args:
        store: The connection to Redis.
        keys: The fleet's keys.
        channel: The channel.
        tally: Counts the metrics.
        rules: A digest of all channels and rules of this reaper.
    """

    name = "courier"

    def __init__(
        self, store: AsyncStore, keys: Keyspace, channel: NotificationChannel, tally: Tally, *, rules: str
    ) -> None:
        super().__init__(tally)
        self._store = store
        self._channel = channel
        self._called = name_of(channel)
        self._namespace = keys.namespace
        self._keys = keys.channel(self._called)
        self._aside = SideThread(f"jobfleet-notify-{self._called}")
        self._rules = rules
        self._logged_at = float("-inf")
        self._is_stuck = False
        self._in_hand: asyncio.Future[None] | None = None

    async def turn(self) -> float:
        """Send one delivery, if one is due."""
        if self._is_clogged():
            return EVERY
        lease_us = round((self._channel.timeout + LEASE_MARGIN) * 1e6)
        taken = await self._store.run(calls.take(self._keys, lease_us=lease_us, rules=self._rules))
        if taken.has_others:
            self._warn_that_rules_differ()
        if taken.spoiled is not None:
            await self._drop(*taken.spoiled)
            return 0.0
        if taken.delivery is None:
            ahead = (taken.next_us - taken.now) / 1e6 if taken.next_us else EVERY
            return min(max(ahead, 0.01), EVERY)
        self._in_hand = asyncio.ensure_future(self._bring(taken.delivery, taken.now))
        await asyncio.shield(self._in_hand)
        return 0.0

    async def stop(self) -> None:
        """Stop; a send in progress may still finish within a grace time, so that no other reaper sends it again."""
        await super().stop()
        if self._in_hand is not None and not self._in_hand.done():
            await asyncio.wait((self._in_hand,), timeout=STOP_GRACE)
            self._in_hand.cancel()
            with suppress(asyncio.CancelledError, JobfleetError):
                await self._in_hand

    def _warn_that_rules_differ(self) -> None:
        if monotonic() - self._logged_at >= LOG_EVERY:
            self._logged_at = monotonic()
            log.warning("notify.rules_differ channel=%s another reaper has different channels or rules", self._called)

    def _is_clogged(self) -> bool:
        """Whether too many sends hang to start another one; logged once."""
        is_stuck = self._aside.left_behind >= LEFT_BEHIND_MOST
        if is_stuck and not self._is_stuck:
            log.error("notify.stuck channel=%s %d sends hang; no send starts until one ends", self._called,
                      LEFT_BEHIND_MOST)  # fmt: skip
        self._is_stuck = is_stuck
        return is_stuck

    async def _drop(self, delivery: bytes, content: bytes) -> None:
        """Give up a delivery that cannot be read, so that it does not come back after each lease."""
        report([f"{self._keys.held} has {shown(delivery)}: {shown(content)}"])
        self.tally.count("notifications_total", (self._called, "given_up"))
        await self._store.run(calls.drop(self._keys, delivery))

    async def _bring(self, delivery: calls.Delivery, now_us: int) -> None:
        try:
            await self._aside.call(self._channel.send, self._notification(delivery), timeout=self._channel.timeout)
        except Exception as error:  # noqa: BLE001 - a channel may be user code
            await self._failed(delivery, error, now_us)
            return
        self.tally.count("notifications_total", (self._called, "sent"))
        log.info("notify.sent channel=%s id=%s count=%d", self._called, delivery.id, delivery.events)
        await self._store.run(calls.deliver(self._keys, delivery))

    def _notification(self, delivery: calls.Delivery) -> Notification:
        return Notification(
            id=delivery.id,
            channel=self._called,
            namespace=self._namespace,
            count=delivery.events,
            since_us=delivery.first_us,
            until_us=delivery.last_us,
            made_us=delivery.made_us,
            fingerprint=delivery.kind,
            notice=Notice.load(delivery.notice),
            attempt=delivery.attempt,
        )

    async def _failed(self, delivery: calls.Delivery, error: Exception, now_us: int) -> None:
        late = f"it took more than {span(self._channel.timeout)}" if isinstance(error, TimeoutError) else ""
        reason = one_line(str(error) or late or type(error).__name__, 300)
        asked = error.retry_after if isinstance(error, NotDelivered) else 0.0
        pause = pause_after(delivery.attempt, asked=asked)
        age = (now_us - delivery.made_us) / 1e6
        if isinstance(error, DeliveryRefused) or age + pause > self._channel.give_up_after:
            self.tally.count("notifications_total", (self._called, "given_up"))
            log.error(
                "notify.given_up channel=%s id=%s count=%d attempts=%d %s",
                self._called, delivery.id, delivery.events, delivery.attempt, reason,
            )  # fmt: skip
            await self._store.run(calls.deliver(self._keys, delivery))
            return
        self.tally.count("notifications_total", (self._called, "failed"))
        log.warning(
            "notify.not_delivered channel=%s id=%s attempt=%d again_in=%s %s",
            self._called, delivery.id, delivery.attempt, span(round(pause, 1)), reason,
        )  # fmt: skip
        await self._store.run(calls.deliver(self._keys, delivery, delay_us=round(pause * 1e6)))
