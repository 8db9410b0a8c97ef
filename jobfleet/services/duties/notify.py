"""The notify duty: matches the events of the journal with rules, and stores deliveries, each event once.

It reads the journal as one consumer of a group, so any number of reapers share the work. A mark in Redis prevents a
second delivery of an event that is read twice. Senders then send the stored deliveries.
"""

from __future__ import annotations

import asyncio
import logging
import os
from collections.abc import Collection, Iterable, Mapping, Sequence
from hashlib import blake2b

from jobfleet.clock import monotonic, wall_us
from jobfleet.config import JobConfig
from jobfleet.errors import JobfleetError, JobNotFound
from jobfleet.metrics.tally import Tally
from jobfleet.model import split_id
from jobfleet.model.audit import NOBODY, from_word
from jobfleet.model.limits import BREAKER
from jobfleet.notify.fingerprint import fingerprint, group_of
from jobfleet.notify.notice import Notice
from jobfleet.notify.reading import notice_of
from jobfleet.notify.registry import Channels, added
from jobfleet.notify.settings import configured
from jobfleet.operations.results import moment
from jobfleet.services.duties.delivery import NotificationSender
from jobfleet.services.service import Service
from jobfleet.store.aio import AsyncStore
from jobfleet.store.calls import cron
from jobfleet.store.calls import journal as calls
from jobfleet.store.calls.dead import GroupMarks, Returned, group_marks
from jobfleet.store.calls.limits import LOOKED, Opening, openings
from jobfleet.store.journal import Batch, Journal
from jobfleet.store.keys import Keyspace

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
    """Matches events with rules, and runs the senders.

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
