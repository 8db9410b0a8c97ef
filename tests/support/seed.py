"""Seeds: states written key by key, so that no test waits. Time is moved by moving the data.

All times are whole steps of ten seconds from the seed's own `now`.
"""

from __future__ import annotations

from typing import Any

import redis

from jobfleet.store.keys import AGE, GROUPED, Lane
from tests.support.state import server_now

S = 1_000_000
"""One second in µs."""
PAST_REPLACING = ("running", "tried", "completed", "another", "free")
"""What a holder of a unique key may be that is left as it is; see `Seed.past_replacing`."""

JOURNAL_MOST = 1000
"""How many events a lane's journal keeps at most; see `Seed.journal`."""

GAP_S = 10
"""Longer than any lane may go without a tick."""


class Seed:
    """Writes jobs of one lane as scripts would have left them.

    Args:
        raw: A client that may write anything.
        lane: Where.

    Attributes:
        now: The moment of the seed, µs of Redis's clock.
    """

    def __init__(self, raw: redis.Redis, lane: Lane) -> None:
        self.raw = raw
        self.lane = lane
        self.now = server_now(raw)

    def id(self, suffix: str) -> str:
        """The id of a job in the lane."""
        return self.lane.id_prefix + suffix

    def at(self, seconds: int) -> int:
        """A moment, µs."""
        return self.now + seconds * S

    def waiting(
        self,
        suffix: str,
        *,
        band: int = 2,
        due: int = 0,
        meta: str = "",
        tries: str = "",
        expires: int | None = None,
        group: str = "",
    ) -> str:
        """A job that stands in a band, due `due` seconds from now; `expires` adds to `meta` what an expiry needs.

        One of a group is looked at when it is due, if its group is not to be looked at before.
        """
        meta = "\n".join(filter(None, (meta, group and f"g {group}")))
        job_id = self.id(suffix)
        if expires is not None:
            meta = "\n".join(filter(None, (f"x {self.at(expires)}", meta)))
            self.raw.zadd(self.lane.expiry, {job_id: self.at(expires)})
        self._open(job_id, meta, tries)
        self.raw.zadd(self.lane.ready[band], {job_id: self.at(due) - (GROUPED if group else 0)})
        if group:
            self.raw.zadd(self.lane.grouped, {f"{band}{group}\0{self.at(due):016}\0{job_id}": 0})
            self.raw.zadd(self.lane.gdue, {f"{band}{group}": self.at(due)}, lt=True)
        if tries:
            self.raw.hincrby(self.lane.totals, "retrying", 1)
        return job_id

    def running(
        self,
        suffix: str,
        token: int = 7,
        *,
        child: str = "w.1",
        claimed: int = -10,
        lease: int = 60,
        deadline: int = 50,
        band: int = 2,
        cancel: str = "",
        meta: str = "",
        tries: str = "",
        group: str = "",
    ) -> str:
        """A job that `child` runs under `token`; `cancel` names who asked it to stop."""
        meta = "\n".join(filter(None, (meta, group and f"g {group}")))
        job_id = self.id(suffix)
        self._open(job_id, meta, tries)
        mark = f"{cancel}@{self.now}" if cancel else ""
        record = f"{token}|{child}|{self.at(claimed)}|{lease * S}|{band}|{mark}"
        self.raw.hset(self.lane.runs, job_id, record)
        self.raw.zadd(self.lane.lease, {job_id: self.at(deadline)})
        if group:
            self.raw.zadd(self.lane.held, {f"{group}\0{job_id}": 0})
        return job_id

    def dead(
        self, suffix: str, *, band: int = 2, meta: str = "", tries: str = "1:0:0:0:0", age: int = 0, result: bool = True
    ) -> str:
        """A failed job; its letter lies `age` seconds back, and its result is gone without `result`."""
        job_id = self.id(suffix)
        fields: Any = {
            "id": job_id, "reason": "error", "band": str(band), "tries": tries, "meta": meta,
            "record": f"record of {suffix}", "envelope": f"envelope of {suffix}",
        }  # fmt: skip
        entry = self.raw.xadd(self.lane.dlq, fields, id=f"{self.at(-age) // 1000}-*")
        self.raw.hset(self.lane.dead, job_id, entry)
        if result:
            line = f"failed {self.now} 7 0 - - error\nrecord of {suffix}"
            self.raw.set(self.lane.result(job_id), line, ex=1000)
        return job_id

    def completed(self, suffix: str, token: int = 7) -> str:
        """A job that has completed under `token`."""
        job_id = self.id(suffix)
        self.raw.set(self.lane.result(job_id), f"completed {self.now} {token}\nrecord of {suffix}", ex=1000)
        return job_id

    def holds(self, key: str, job_id: str, *, till: int | None = None, since: int = 0, last: str = "") -> None:
        """A unique key is held by a job, for as long as it is open or till `till` seconds from now.

        `since` is when it was taken, in seconds from now; `last` names the latest job that it stands for.
        """
        over = self.at(till) if till is not None else 0
        self.raw.hset(self.lane.unique, key, f"{job_id} {over} {self.at(since)} {last}".rstrip())
        if over:
            self.raw.zadd(self.lane.locks, {key: over})

    def past_replacing(self, key: str, case: str) -> None:
        """Seed a job ``a`` that can be neither replaced nor debounced, for the reason that is named."""
        if case == "running":
            self.holds(key, self.running("a", meta=f"u {key}"))
        elif case == "tried":
            self.holds(key, self.waiting("a", meta=f"u {key}", tries="1:0:0:0:0"))
        elif case == "completed":
            self.holds(key, self.completed("a"), till=60)
        elif case == "another":
            self.waiting("a", meta=f"u {key}")
            self.holds(key, self.waiting("c", meta=f"u {key}"))
        else:
            self.waiting("a")

    def watch(self, job_id: str) -> None:
        """Dependants wait for a job."""
        self.raw.hset(self.lane.watched, job_id, "1")

    def ticked(self, *, ago: int = 0, hold: int = 0, longest: int = 60) -> None:
        """A tick was there; leases are held until `hold` seconds from now (0: they are judged)."""
        held = self.at(hold) if hold else 0
        self.raw.hset(self.lane.lane, mapping={"seen": self.at(-ago), "hold": held, "longest": longest * S})

    def paused(self, by: str = "ann") -> None:
        """The lane is paused."""
        self.raw.hset(self.lane.conf, "paused", f"{by}@{self.now}")

    def rests(self, group: str, *, band: int = 2, time: int = 0) -> None:
        """A group rests in a band at a virtual time, and nothing looks at it."""
        self.raw.zrem(self.lane.gdue, f"{band}{group}")
        self.raw.zadd(self.lane.ring, {f"{band}{group}": 4 * 10**15 + band * 10**15 + time})

    def turns(self, group: str, *, band: int = 2, time: int = 0) -> None:
        """A group takes turns in a band, at a virtual time."""
        self.raw.zrem(self.lane.gdue, f"{band}{group}")
        self.raw.zadd(self.lane.ring, {f"{band}{group}": band * 10**15 + time})

    def limit(self, value: str, group: str | None = None) -> None:
        """A limit is set: most, every (µs), burst, weight, text."""
        self.raw.hset(self.lane.conf, "limit" if group is None else f"limit:{group}", value)
        if group is not None:
            self.raw.hincrby(self.lane.conf, "groups", 1)

    def group_paused(self, group: str, by: str = "ann") -> None:
        """A group is paused."""
        self.raw.hset(self.lane.conf, f"paused:{group}", f"{by}@{self.now}")
        self.raw.hincrby(self.lane.conf, "groups", 1)

    def paused_functions(self, *lines: str) -> None:
        """Functions are paused: each line is its name, and what is known of its pause."""
        self.raw.hset(self.lane.conf, "functions", "\n".join(lines))

    def withheld(
        self, suffix: str, *, band: int = 2, due: int = 0, meta: str = "", tries: str = "", group: str = ""
    ) -> str:
        """A job that was due `due` seconds from now, and stands where those of paused functions do."""
        job_id = self.waiting(
            suffix, band=band, meta="\n".join(filter(None, (meta, group and f"g {group}"))), tries=tries
        )
        self.raw.zadd(self.lane.ready[band], {job_id: self.at(due) + AGE})
        return job_id

    def journal(self) -> None:
        """A consumer of the journal is registered."""
        self.raw.hset(self.lane.conf, "journal", str(JOURNAL_MOST))

    def lane_holds(self, **fields: str | int) -> None:
        """Fields of the lane's run-time state."""
        self.raw.hset(self.lane.lane, mapping={name: str(value) for name, value in fields.items()})

    def _open(self, job_id: str, meta: str, tries: str) -> None:
        self.raw.set(self.lane.job(job_id), f"envelope of {job_id.removeprefix(self.lane.id_prefix)}")
        if meta:
            self.raw.hset(self.lane.meta, job_id, meta)
        if tries:
            self.raw.hset(self.lane.tries, job_id, tries)
