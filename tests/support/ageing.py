"""Moves endings into the past, and makes indexes due, so that no test waits for the retention duty."""

from __future__ import annotations

from typing import cast

import redis

from jobfleet.store.keys import Lane


def age_endings(raw: redis.Redis, lane: Lane, seconds: int) -> None:
    """Every job of a lane has ended so many seconds earlier, and all its indexes are due for cleaning."""
    for key in cast(list[bytes], raw.keys(f"{lane.result_prefix}*")):
        line, _, record = cast(bytes, raw.get(key)).partition(b"\n")
        status, at, *words = line.split(b" ")
        moved = b" ".join([status, b"%d" % (int(at) - seconds * 1_000_000), *words])
        raw.set(key, moved + b"\n" + record, keepttl=True)
    make_due(raw, lane)


def make_due(raw: redis.Redis, lane: Lane) -> None:
    """All indexes of a lane are due for cleaning."""
    for name in cast(list[bytes], raw.zrange(lane.indexes, 0, -1)):
        raw.zadd(lane.indexes, {name: 1})
