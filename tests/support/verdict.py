"""What must hold once everything has been settled: nothing lost, nothing ended twice, nothing left over."""

from __future__ import annotations

from collections.abc import Iterable

import redis

from jobfleet import JobResult, JobStatus
from jobfleet.store.keys import Lane
from tests.support.fleet import History


def wrong_with(results: Iterable[JobResult[object]], history: History) -> list[str]:
    """What is wrong with jobs that were all to complete, in words."""
    started: dict[str, list[int]] = {}
    ended: dict[str, set[int]] = {}
    for entry in history.entries():
        if entry.event == "start":
            started.setdefault(entry.id, []).append(entry.fence)
        elif entry.event == "end":
            ended.setdefault(entry.id, set()).add(entry.fence)
    wrong = []
    for result in results:
        wrong += _wrong_with(result, started.get(result.id, []), ended.get(result.id, set()))
    return wrong


def _wrong_with(result: JobResult[object], fences: list[int], ended: set[int]) -> list[str]:
    wrong = []
    if result.status is not JobStatus.COMPLETED:
        wrong.append(f"{result.id} is {result.status.value}: {result.error}")
    if fences != sorted(set(fences)):
        wrong.append(f"{result.id} was started under fences {fences}")
    if result.status is JobStatus.COMPLETED and result.fence != max(fences, default=0):
        wrong.append(f"{result.id} completed under {result.fence}, though it was given away under {max(fences)}")
    if result.status is JobStatus.COMPLETED and result.fence not in ended:
        wrong.append(f"{result.id} completed under {result.fence}, which never came to its end")
    if result.function in {"hist.nap", "hist.rest"} and result.result != result.fence:
        wrong.append(f"{result.id} completed under {result.fence} with the value of {result.result}")
    return wrong


def left_over(raw: redis.Redis, lane: Lane, count: int) -> list[str]:
    """What a lane still holds, or has counted wrongly, after `count` jobs or more were all completed."""
    wrong = []
    for name in ("lease", "runs", "tries", "meta", "expiry"):
        key = getattr(lane, name)
        size = raw.zcard(key) if name in {"lease", "expiry"} else raw.hlen(key)
        if size:
            wrong.append(f"{size} left in {name}")
    waiting = sum(raw.zcard(band) for band in lane.ready)
    if waiting:
        wrong.append(f"{waiting} left in ready")
    completed = int(raw.hget(lane.totals, "completed") or 0)
    enqueued = int(raw.hget(lane.totals, "enqueued") or 0)
    if completed != enqueued or enqueued < count:
        wrong.append(f"counted {enqueued} enqueued and {completed} completed, acknowledged {count}")
    return wrong
