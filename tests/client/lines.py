"""Jobs that stand in line, and where."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

import redis

from jobfleet import Fleet, Job, Priority
from jobfleet.store.calls.lease import claim
from tests.client.either import Either

SOON = datetime.now(UTC).replace(microsecond=0) + timedelta(hours=1)
"""A due time that no test reaches."""


async def wait_in_line(client: Either, *suffixes: str, **options: Any) -> list[str]:
    """Enqueue sums with ids of our own."""
    return [await client("enqueue", Job("Sum", "app.add", (1, 2), id=suffix, **options)) for suffix in suffixes]


def start(fleet: Fleet, job_id: str) -> None:
    """Let somebody claim it, and never end."""
    lane = fleet.context.keys.lane_of(job_id)
    answer = fleet.store.run(claim(lane, child="w.0", nonce=1, lease_us=60_000_000, limit=50))
    assert job_id in [grant.id for grant in answer.grants]


def bands(raw: redis.Redis, queue: str = "default") -> dict[str, list[str]]:
    """Which jobs stand in which band, by due time."""
    found: dict[str, list[str]] = {}
    for priority in Priority:
        ids: Any = raw.zrange(f"{{jobfleet:{queue}:0}}:ready:{priority.band}", 0, -1)
        if ids:
            found[priority.name] = [job_id.decode().rpartition(".")[2] for job_id in ids]
    return found
