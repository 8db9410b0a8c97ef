"""The notify duty: matches the events of the journal with rules, stores deliveries, and sends them per channel."""

from __future__ import annotations

import asyncio
import inspect
import logging
import os
import random
import threading
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from contextlib import suppress
from hashlib import blake2b
from typing import Any, TypeVar

from jobfleet.clock import moment, monotonic, span, wall_us
from jobfleet.config import JobConfig
from jobfleet.errors import JobfleetError, JobNotFound
from jobfleet.metrics.tally import Tally
from jobfleet.model import split_id
from jobfleet.model.audit import NOBODY, from_word
from jobfleet.model.limits import BREAKER
from jobfleet.notify.channel import DeliveryRefused, NotDelivered, NotificationChannel, name_of
from jobfleet.notify.notice import Notice, Notification, fingerprint, group_of, notice_of
from jobfleet.notify.registry import Channels, added, configured
from jobfleet.notify.text import one_line
from jobfleet.services.service import Service
from jobfleet.store.aio import AsyncStore
from jobfleet.store.calls import cron
from jobfleet.store.calls import journal as calls
from jobfleet.store.calls.dead import GroupMarks, Returned, group_marks
from jobfleet.store.calls.limits import LOOKED, Opening, openings
from jobfleet.store.journal import Batch, Journal
from jobfleet.store.keys import Keyspace
from jobfleet.store.rows import report, shown

log = logging.getLogger("jobfleet.reaper")
EVERY = 0.5
AT_ONCE = 20
TRIM_EVERY = 1.0
LOOK_AT_CRON = LOOK_AT_GROUPS = 5.0
LOOK_AT_BREAKERS = 1.0
LOOK_BACK_US = 6 * 86_400_000_000  # less than the lifetime of the marks
FIRST_PAGES = 20
"""Pages of gates that the first look at breakers reads at most; further looks read one."""
OVERLAP_US = 10_000_000
"""µs before the last look for which breakers are looked at again."""
FIRES_AT_ONCE = 50
GROUP = "notify"
IGNORABLE = frozenset({"failed", "retried"})
"""Events of which an ignored group of dead letters sends no notification."""

Marked = tuple[str, Notice]


def channels_of(config: JobConfig) -> Channels:
    """Return the channels and rules that imported modules added, followed by those of the settings.

    Raises:
        ConfigError: A channel or a rule of the settings is not valid.
    """
    return added().joined(configured(config.notify, os.environ))


class Notify(Service):
    """Matches the events of the journal with rules, each event once, stores deliveries, and runs the senders.

    It reads the journal as one consumer of a group, so any number of reapers share the work. A mark in Redis prevents a
    second delivery of an event that is read twice. Senders then send the stored deliveries.

    Args:
        store: The connection to Redis.
        keys: The fleet's keys.
        config: The settings.
        tally: Counts the metrics.
        channels: The channels and rules; at least one channel.
        consumer: The name of this process among the consumers of the journal.
    """

    name = "notify"

    def __init__(
        self,
        store: AsyncStore,
        keys: Keyspace,
        config: JobConfig,
        tally: Tally,
        channels: Channels,
        *,
        consumer: str,
    ) -> None:
        super().__init__(tally)
        self._store = store
        self._keys = keys
        self._config = config
        self._channels = channels
        self._wanted = {event for rule in channels.rules for event in rule.events}
        self._journal = Journal(
            store,
            keys,
            group=GROUP,
            consumer=consumer,
            most=config.journal_max,
            longest=config.journal_ttl,
            take_over_after=config.gone_after,
        )
        self._is_registered = False
        self._trimmed = self._looked_at_cron = float("-inf")
        self._missed: set[str] = set()
        self._looked_at_groups = float("-inf")
        self._returned: set[str] = set()
        self._looked_at_breakers = float("-inf")
        self._breakers_seen = 0
        self._opened: set[str] = set()
        rules = digest(channels)
        self._senders = [NotificationSender(store, keys, one, tally, rules=rules) for one in channels.channels.values()]

    def start(self) -> None:
        """Start the duty and the senders."""
        super().start()
        for sender in self._senders:
            sender.start()

    async def stop(self) -> None:
        """Stop the duty and the senders."""
        await super().stop()
        await asyncio.gather(*(sender.stop() for sender in self._senders))

    async def turn(self) -> float:
        """Process new events."""
        if not self._is_registered:
            await self._journal.register()
            self._is_registered = True
        batches = await self._journal.read(count=AT_ONCE)
        marked = [one for batch in batches for one in _marked(batch, self._wanted)]
        if any(notice.event in IGNORABLE for _, notice in marked):
            ignored = (await self._group_marks()).ignored
            marked = [one for one in marked if not _is_ignored(one[1], ignored)]
        await self._gather(marked)
        if batches:
            await self._journal.ack(batches)
        if monotonic() - self._trimmed >= TRIM_EVERY:
            await self._journal.trim()
            self._trimmed = monotonic()
        if "missed" in self._wanted and monotonic() - self._looked_at_cron >= LOOK_AT_CRON:
            await self._look_at_cron()
            self._looked_at_cron = monotonic()
        if "regressed" in self._wanted and monotonic() - self._looked_at_groups >= LOOK_AT_GROUPS:
            await self._look_at_groups()
            self._looked_at_groups = monotonic()
        if "breaker" in self._wanted and monotonic() - self._looked_at_breakers >= LOOK_AT_BREAKERS:
            await self._look_at_breakers()
            self._looked_at_breakers = monotonic()
        return 0.0 if batches else EVERY

    async def _gather(self, marked: Iterable[Marked]) -> None:
        """Store deliveries for the channels that the rules select."""
        for channel, items in self._items(marked).items():
            keys, most = self._keys.channel(channel), self._channels.channels[channel].most
            pages = [items[at : at + calls.CHUNK] for at in range(0, len(items), calls.CHUNK)]
            for answer in await self._store.run_many([calls.gather(keys, page, most=most) for page in pages]):
                if isinstance(answer, JobfleetError):
                    raise answer

    def _items(self, marked: Iterable[Marked]) -> Mapping[str, Sequence[calls.Item]]:
        by_channel: dict[str, list[calls.Item]] = {}
        for mark, notice in marked:
            kind, dumped = fingerprint(notice), notice.dump()
            for rule in self._channels.addressed(notice):
                delivery = delivery_id(self._keys.namespace, rule.channel, mark)
                item = calls.Item(mark, kind, round(rule.window * 1e6), delivery, notice.at_us, dumped)
                by_channel.setdefault(rule.channel, []).append(item)
        return by_channel

    async def _look_at_cron(self) -> None:
        """Process the fires of the last six days that were missed, from the ledgers."""
        now, entries = await self._store.run(cron.entries(self._keys))
        missed: dict[str, Notice] = {}
        for entry in entries:
            rows = await self._store.run(cron.history(self._keys, entry.name, limit=FIRES_AT_ONCE))
            for at_us, line in rows:
                if line.split(" ", 1)[0] == "missed" and now - at_us < LOOK_BACK_US:
                    missed[f"cron:{entry.name}:{at_us}"] = _missed(entry.name, at_us)
        await self._gather([(mark, notice) for mark, notice in missed.items() if mark not in self._missed])
        self._missed = set(missed)

    async def _group_marks(self) -> GroupMarks:
        return await self._store.run(group_marks(self._keys, since_us=max(0, wall_us() - LOOK_BACK_US)))

    async def _look_at_groups(self) -> None:
        """Process the groups of dead letters that came back in the last six days after they were resolved."""
        returned = {f"group:{one.fingerprint}:{one.at}": one for one in (await self._group_marks()).returned}
        await self._gather([(mark, _returned(one)) for mark, one in returned.items() if mark not in self._returned])
        self._returned = set(returned)

    async def _look_at_breakers(self) -> None:
        """Process the circuit breakers that have opened: at first in the last six days, then since the last look."""
        since, pages = wall_us() - LOOK_BACK_US, 1 if self._breakers_seen else FIRST_PAGES
        used, every = max(since, self._breakers_seen - OVERLAP_US), list[Opening]()
        for page in range(pages):
            skip = page * LOOKED
            seen = await self._store.run(openings(self._keys, used_us=used, opened_us=since, skip=skip))
            every += seen.rows
            if seen.looked < LOOKED:
                break
        self._breakers_seen = seen.now
        opened = {f"{one.name}:{moment(one.at)}": one for one in every}
        await self._gather([(mark, _opened(one)) for mark, one in opened.items() if mark not in self._opened])
        self._opened = set(opened)


def _opened(one: Opening) -> Notice:
    name = one.name.removeprefix(BREAKER)
    kind, _, rest = name.partition(":")
    return Notice(
        event="breaker",
        job_id=name,
        at_us=one.at,
        queue=rest.partition(":")[0] if kind == "group" else "",
        function=rest if kind == "function" else "",
        name=name,
        user="" if one.by in {"", NOBODY} else from_word(one.by),
        error=one.reason,
    )


def _is_ignored(notice: Notice, ignored: Collection[str]) -> bool:
    return notice.event in IGNORABLE and bool(ignored) and group_of(notice) in ignored


def _returned(group: Returned) -> Notice:
    try:
        queue = split_id(group.example).queue
    except JobNotFound:
        queue = ""
    return Notice(
        event="regressed",
        job_id=group.example,
        at_us=group.at,
        queue=queue,
        function=group.function,
        error_class=group.error_class,
        error=group.error,
    )


def _missed(entry: str, at_us: int) -> Notice:
    error = "no reaper handled it within its misfire window; does a reaper run?"
    return Notice(event="missed", job_id=entry, at_us=at_us, function=entry, name=entry, error=error)


def _marked(batch: Batch, wanted: set[str]) -> list[Marked]:
    lane = batch.lane
    found = []
    for event in batch.events:
        notice = notice_of(event, wanted)
        if notice is not None:
            found.append((f"{lane.queue}:{lane.index}:{event.seq}", notice))
    return found


def digest(channels: Channels) -> str:
    """Return a digest of channels and rules, equal in all reapers with the same configuration."""
    text = repr((sorted(channels.channels), channels.rules))
    return blake2b(text.encode("utf-8", "replace"), digest_size=8).hexdigest()


def delivery_id(namespace: str, channel: str, mark: str) -> str:
    """Derive the id of a delivery for one event, equal in every process."""
    return blake2b(f"{namespace}\0{channel}\0{mark}".encode(), digest_size=16).hexdigest()


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
    """Sends the deliveries of one channel one by one, each at least once.

    Every reaper has a sender per channel; Redis decides which sender takes a delivery. If a sender dies with a
    delivery, another one sends it under the same id after the lease.

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


T = TypeVar("T")


class SideThread:
    """Makes one call at a time, each in its own thread. It abandons threads that hang, and counts them.

    Args:
        name: The name of the threads.
    """

    def __init__(self, name: str) -> None:
        self._name = name
        self._left: list[threading.Thread] = []

    @property
    def left_behind(self) -> int:
        """The number of abandoned threads that still hang."""
        self._left = [thread for thread in self._left if thread.is_alive()]
        return len(self._left)

    async def call(self, function: Callable[[T], Any], argument: T, *, timeout: float) -> None:
        """Call a function, and await its result if it is awaitable.

        Args:
            function: The function; it may hang.
            argument: Its argument.
            timeout: Time limit in seconds.

        Raises:
            TimeoutError: The limit was exceeded; the thread is abandoned.
            BaseException: The function raised it.
        """
        loop = asyncio.get_running_loop()
        done: asyncio.Future[None] = loop.create_future()

        def settle(error: BaseException | None) -> None:
            if done.done():
                return
            if error is None:
                done.set_result(None)
            else:
                done.set_exception(error)

        def work() -> None:
            error: BaseException | None = None
            try:
                answer = function(argument)
                if inspect.isawaitable(answer):
                    asyncio.run(_awaited(answer))
            except BaseException as raised:  # noqa: BLE001 - user code may raise anything; the caller gets the error
                error = raised if isinstance(raised, Exception) else RuntimeError(repr(raised))
            with suppress(RuntimeError):  # the loop is closed, so no one waits for the result
                loop.call_soon_threadsafe(settle, error)

        thread = threading.Thread(target=work, name=self._name, daemon=True)
        thread.start()
        try:
            async with asyncio.timeout(timeout):
                await done
        except TimeoutError:
            if done.cancelled() and thread.is_alive():
                self._left.append(thread)
            raise


async def _awaited(answer: Any) -> None:
    await answer
