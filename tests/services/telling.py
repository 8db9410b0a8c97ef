"""What tests of notifications share: a channel that remembers, jobs that fail, and a duty that is turned by hand."""

from __future__ import annotations

import itertools
from collections.abc import Callable
from typing import Any, cast

import redis

from jobfleet import AsyncFleet, Job
from jobfleet.codec.frames import seal_record
from jobfleet.notify import Notification, NotificationChannel
from jobfleet.services.duties.notify import Notify
from jobfleet.store.aio import AsyncStore
from jobfleet.store.calls import lease, settle
from jobfleet.store.calls.settle import Item
from jobfleet.store.keys import Keyspace
from tests.support.state import server_now

Made = Callable[..., Notify]
KEYS = Keyspace("jobfleet")
LANE = KEYS.lane("mail", 0)
nonces = itertools.count(1)


class Recorder(NotificationChannel):
    """Remembers what it was to send; `fate` may raise, or wait."""

    def __init__(self, name: str = "ops", fate: Callable[[Notification], Any] | None = None) -> None:
        self.name = name
        self.sent: list[Notification] = []
        self.fate = fate

    def send(self, notification: Notification) -> Any:
        self.sent.append(notification)
        return self.fate(notification) if self.fate is not None else None

    @property
    def told(self) -> list[tuple[str, str, int]]:
        return [(one.event, one.notice.job_id, one.count) for one in self.sent]


async def begin(store: AsyncStore, fleet: AsyncFleet, count: int) -> list[tuple[str, int]]:
    """Enqueue jobs and claim them: ids and tokens."""
    for _ in range(count):
        await fleet.enqueue(Job("greet", "mail.send", (1,), queue="mail", user="ann", tags=["urgent"]))
    call = lease.claim(LANE, child="w.1", nonce=next(nonces), lease_us=60_000_000, limit=count)
    return [(grant.id, grant.token) for grant in (await store.run(call)).grants]


def failing(job_id: str, token: int, *, error: str = "refused", kind: str = "ConnectionError") -> Item:
    fields = {"function": "mail.send", "user": "ann", "tags": ["urgent"], "error_class": kind, "error": error,
              "attempt": 4}  # fmt: skip
    return settle.fail(
        job_id, token, record=seal_record(fields), ttl_ms=60_000, duration_us=1, reason="error", tries="4:0:0:0:0"
    )


async def fail(store: AsyncStore, fleet: AsyncFleet, count: int = 1, **what: Any) -> list[str]:
    begun = await begin(store, fleet, count)
    await store.run(settle.settle(LANE, [failing(job_id, token, **what) for job_id, token in begun]))
    return [job_id for job_id, _ in begun]


def make_due(raw: redis.Redis, key: str) -> None:
    """Let the time come for all that a sorted set holds."""
    for member in cast(list[bytes], raw.zrange(key, 0, -1)):
        raw.zadd(key, {member: server_now(raw)})


async def bring(duty: Notify) -> None:
    """One turn of the duty, then of its couriers until nothing is due."""
    duty._journal._looked = float("-inf")  # lanes may be new
    while await duty.turn() == 0.0:
        pass
    for one in duty._senders:
        while await one.turn() == 0.0:
            pass


def counted(duty: Notify) -> dict[Any, Any]:
    """What was counted of notifications, by channel and outcome."""
    return {row[1]: row[2] for row in duty.tally.take() if row[0] == "notifications_total"}
