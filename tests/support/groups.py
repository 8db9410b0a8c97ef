"""What must hold of the groups of a lane at every moment, read from the keys themselves."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, cast

import redis

from jobfleet.model.limits import Limit
from jobfleet.store.keys import BANDS, GROUPED, WITHHELD, Lane
from tests.support.state import server_now

REST = 4 * 10**15


def faults(raw: redis.Redis, lane: Lane) -> list[str]:
    """What is wrong; nothing of a sound lane."""
    return [*_places(raw, lane), *_slots(raw, lane), *_turns(raw, lane)]


def groups_of(raw: redis.Redis, lane: Lane) -> dict[str, str]:
    """The group of each open job that has one."""
    metas: Any = raw.hgetall(lane.meta)
    lines = {job_id.decode(): meta.decode().split("\n") for job_id, meta in metas.items()}
    return {job_id: line[2:] for job_id, meta in lines.items() for line in meta if line.startswith("g ")}


def waiting_of(raw: redis.Redis, lane: Lane) -> dict[tuple[str, str], list[tuple[int, str]]]:
    """Due times and ids of the jobs that wait by band and group, blocked and withheld ones left out."""
    names = groups_of(raw, lane)
    found: dict[tuple[str, str], list[tuple[int, str]]] = {}
    for band in range(BANDS):
        for job_id, score in _scores(raw, lane.ready[band]).items():
            if score < WITHHELD and (job_id in names or score < 0):
                found.setdefault((str(band), names.get(job_id, "?")), []).append((score + GROUPED, job_id))
    return found


def _scores(raw: redis.Redis, key: str) -> dict[str, int]:
    rows: Any = raw.zrange(key, 0, -1, withscores=True)
    return {member.decode(): int(score) for member, score in rows}


def _places(raw: redis.Redis, lane: Lane) -> Iterator[str]:
    """Every job of a group that waits stands in its group, and nothing else does."""
    wanted = {
        f"{band}{group}\0{due:016}\0{job_id}"
        for (band, group), rows in waiting_of(raw, lane).items()
        for due, job_id in rows
    }
    there = set(_scores(raw, lane.grouped))
    yield from (f"not in its group: {entry!r}" for entry in wanted - there)
    yield from (f"in a group, and does not wait: {entry!r}" for entry in there - wanted)


def _slots(raw: redis.Redis, lane: Lane) -> Iterator[str]:
    """Every run of a group holds a slot, and nothing else does."""
    names, keys = groups_of(raw, lane), cast(list[bytes], raw.hkeys(lane.runs))
    runs = {run.decode() for run in keys}
    wanted = {f"{names[run]}\0{run}" for run in runs if run in names}
    there = set(_scores(raw, lane.held))
    yield from (f"runs without a slot: {entry!r}" for entry in wanted - there)
    yield from (f"slot of nobody: {entry!r}" for entry in there - wanted)


def _turns(raw: redis.Redis, lane: Lane) -> Iterator[str]:
    """Every group that waits takes turns, is looked at in time, or rests since it is paused, full or out of tokens."""
    ring, gdue, waits = _scores(raw, lane.ring), _scores(raw, lane.gdue), waiting_of(raw, lane)
    conf = cast(dict[bytes, bytes], raw.hgetall(lane.conf))
    now = server_now(raw)
    held = [entry.partition("\0")[0] for entry in _scores(raw, lane.held)]
    for (band, group), rows in waits.items():
        key = band + group
        place, look = ring.get(key, REST), gdue.get(key)
        own, every = (Limit.parse(conf.get(f"limit:{name}".encode(), b"").decode()) for name in (group, "*"))
        most = every.concurrency if own.concurrency is None else own.concurrency
        is_full = most is not None and held.count(group) >= most
        is_paused = f"paused:{group}".encode() in conf
        is_late = look is not None and look > max(now, min(rows)[0]) and group not in _out_of_tokens(raw, lane)
        if place >= REST and not is_full and not is_paused and (look is None or is_late):
            yield f"waits, and nobody looks: {key!r}"
    yield from (f"turn of nobody: {key!r}" for key in {*ring, *gdue} if (key[0], key[1:]) not in waits)


def _out_of_tokens(raw: redis.Redis, lane: Lane) -> set[str]:
    return set(_scores(raw, lane.rates))
