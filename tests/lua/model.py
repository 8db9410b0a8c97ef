"""A model of a lane: what each job is, and what every call must answer and leave behind."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from jobfleet.model.life import LIFE_LINES
from jobfleet.store.calls.settle import (
    TOKEN_VALID,
    Item,
    complete,
    expire,
    fail,
    move,
    park,
    release,
    retry,
    wait,
    withhold,
)
from jobfleet.store.keys import AGE, is_withheld
from tests.support.seed import S

MINUTE = 60 * S
TRIES = "1:0:0:0:0"
VERBS = ("complete", "fail", "retry", "fail", "release", "retry", "park", "expire", "move", "withhold", "wait")
OPEN = {"waiting", "running"}
ENDS = {"complete": "completed", "fail": "failed", "expire": "expired"}
PAST = {"retry": "retried", "release": "released", "park": "parked", "withhold": "withheld", "wait": "released"}
UNCHARGED = {"release", "withhold", "wait"}
FUNCTION = "mail.send"
LONG_AGO = 1_700_000_000_000_000


@dataclass
class Job:
    """What the model knows of a job."""

    id: str
    band: int
    fancy: bool
    place: str = "waiting"
    token: int = 0
    child: str = ""
    marked: bool = False
    tried: bool = False
    expiring: bool = False
    may_expire: bool = False
    watched: bool = False
    withheld: bool = False
    signalled: bool = False
    is_kept: bool = False
    asked: int = 0
    has_waited: bool = False
    envelope: str = "envelope"
    line: str = ""
    record: bytes = b""


def item_of(verb: str, job_id: str, token: int, guard: str = TOKEN_VALID) -> Item:
    """What a worker sends, or a reaper under its guard."""
    record = f"record {token}".encode()
    if verb == "complete":
        return complete(job_id, token, record=record, ttl_ms=600_000, duration_us=5)
    if verb == "fail":
        return fail(
            job_id, token, record=record, ttl_ms=600_000, duration_us=5, reason="error", tries=TRIES, guard=guard
        )
    if verb == "expire":
        return expire(job_id, token, ttl_ms=600_000, guard=guard)
    if verb == "move":
        return move(job_id, token, to=f"{job_id}.else", ttl_ms=600_000)
    if verb == "park":
        return park(job_id, token, delay_us=MINUTE, tries=TRIES)
    if verb == "withhold":
        return withhold(job_id, token, due=LONG_AGO, function=FUNCTION)
    if verb == "wait":
        return wait(job_id, token, key="x1 go", name="go", delay_us=MINUTE, ttl_ms=600_000)
    if verb == "release":
        return release(job_id, token, guard=guard)
    return retry(job_id, token, delay_us=0, tries=TRIES, guard=guard)


class Model:
    """All jobs of a lane, and the counts they imply."""

    def __init__(self) -> None:
        self.jobs: dict[str, Job] = {}
        self.totals: Counter[str] = Counter()
        self.told = 0
        self.last_token = 0
        self.past: list[tuple[str, int]] = []
        self.paused = False
        self.is_function_paused = False

    def of(self, *places: str) -> list[Job]:
        """The jobs that stand there."""
        return [job for job in self.jobs.values() if job.place in places]

    def one(self, pick: int, *places: str) -> Job | None:
        """One of them, if there is any."""
        found = self.of(*places)
        return found[pick % len(found)] if found else None

    def end(self, job: Job, place: str, line: str = "", record: bytes = b"") -> None:
        """Let a job end."""
        if job.watched:
            self.told += 1
        if job.token:
            self.past.append((job.id, job.token))
        if job.place == "waiting" and job.tried:
            self.totals["retrying"] -= 1
        job.place, job.line, job.record = place, line or f"{place} {job.token}", record
        job.marked = job.tried = job.expiring = job.watched = job.withheld = False
        self.totals[place] += 1

    def settled(self, job: Job, verb: str) -> str:
        """Let the model settle a run; the letter to expect."""
        token = job.token
        if job.marked and verb != "complete":
            self.end(job, "cancelled")
            return "c"
        if verb == "move":
            self.end(job, "cancelled")
            return "s"
        if verb == "expire" and job.has_waited:  # it has begun, so it goes on, whatever a reaper asks
            verb = "release"
        if verb in ENDS:
            self.end(job, ENDS[verb], record=f"record {token}".encode())
            self.totals["run_us"] += 0 if verb == "expire" else 5
            return "s"
        self.past.append((job.id, token))
        if verb == "wait":  # it has started, so it does not expire any more
            self.totals["suspended"] += 1
            job.may_expire, job.is_kept, job.has_waited = False, True, True
        job.expiring = verb in UNCHARGED and job.may_expire and not job.tried
        job.tried = job.tried or verb not in UNCHARGED
        job.withheld = verb == "withhold" and self.is_function_paused
        job.place, job.token, job.marked = "waiting", 0, False
        self.totals[PAST[verb]] += 1
        self.totals["retrying"] += job.tried
        return "s"

    def what_is_open_has_all_it_needs(self, found: Mapping[str, Any]) -> None:
        """See that all that stands for open jobs is there, and nothing else is."""
        waiting = [(band, job_id) for band in range(4) for job_id in found.get(f"ready:{band}", {})]
        assert sorted(waiting) == sorted((job.band, job.id) for job in self.of("waiting"))
        dues = {job_id: due for band in range(4) for job_id, due in found.get(f"ready:{band}", {}).items()}
        far = {job_id: due for job_id, due in dues.items() if is_withheld(due)}
        assert far == {job.id: LONG_AGO + AGE for job in self.of("waiting") if job.withheld}
        assert set(found.get("lease", {})) == set(found.get("runs", {})) == {job.id for job in self.of("running")}
        for job in self.of("running"):
            assert found["runs"][job.id].startswith(f"{job.token}|{job.child}|")
        openly = self.of(*OPEN)
        keyed = {f"key {job.id[-3:]}": job.id for job in openly if job.fancy}
        assert ids_of(found, "job:") == {job.id for job in openly}
        metas = found.get("meta", {})
        assert set(metas) == {*keyed.values(), *(job.id for job in openly if job.is_kept or job.asked)}
        lines = {job_id: f"\n{meta}".count("\nl ") for job_id, meta in metas.items()}
        assert lines == {job.id: min(job.asked, LIFE_LINES) for job in openly if job.id in metas}
        assert {key: lock.partition(" ")[0] for key, lock in found.get("unique", {}).items()} == keyed
        assert set(found.get("tries", {})) == {job.id for job in openly if job.tried}
        assert set(found.get("expiry", {})) == {job.id for job in openly if job.expiring}
        assert set(found.get("watched", {})) == {job.id for job in openly if job.watched}
        assert len(found.get("outbox", [])) == self.told

    def what_has_ended_stays_as_it_ended(self, found: Mapping[str, Any]) -> None:
        """See that what is kept of ended jobs is as they ended."""
        final = [job for job in self.jobs.values() if job.place not in OPEN | {"forgotten"}]
        assert ids_of(found, "result:") == {job.id for job in final}
        for job in final:
            line, _, body = found[f"result:{job.id}"][0].partition("\n")
            assert " ".join(line.split(" ")[::2][:2]) == job.line
            assert body == (job.record.decode() if job.place in {"completed", "failed"} else job.envelope)
        letters = {entry: fields["id"] for entry, fields in found.get("dlq", [])}
        assert sorted(letters.values()) == sorted(job.id for job in self.of("failed"))
        assert {job_id: entry for entry, job_id in letters.items()} == found.get("dead", {})
        counted = {name: int(number) for name, number in found.get("totals", {}).items()}
        assert Counter(counted) == self.totals


def ids_of(found: Mapping[str, Any], kind: str) -> set[str]:
    """The ids of the keys of a kind."""
    return {name.removeprefix(kind) for name in found if name.startswith(kind)}
