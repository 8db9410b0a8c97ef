"""Samples that a test stores itself, in place of the reaper."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import redis

from jobfleet import Fleet
from jobfleet.samples import FINE, pack, pack_mark


def store_samples(raw: redis.Redis, fleet: Fleet, rows: Mapping[str, Mapping[int, Any]], *, ago: int) -> None:
    """Store a point of each series, of the step of ten seconds that was so many seconds ago."""
    seconds, _ = raw.time()
    part, step = FINE.place((int(seconds) - ago) // FINE.step)
    key = fleet.context.keys.samples_of(part)
    values = {"": pack_mark(step, 0)} | {name: pack(step, 0, dict(point)) for name, point in rows.items()}
    for name, value in values.items():
        before: Any = raw.hget(key, name) or b""
        raw.hset(key, name, before + value)
