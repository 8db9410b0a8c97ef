"""A model of a lane: what each job is, and what every call must answer and leave behind."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass

from jobfleet.store.calls.settle import TOKEN_STANDS, Item, complete, expire, fail, move, park, release, retry
from tests.support.seed import S

MINUTE = 60 * S
TRIES = "1:0:0:0:0"
VERBS = ("complete", "fail", "retry", "fail", "release", "retry", "park", "expire", "move")
OPEN = {"waiting", "running"}
ENDS = {"complete": "completed", "fail": "failed", "expire": "expired"}
PAST = {"retry": "retried", "release": "released", "park": "parked"}


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
    line: str = ""
    record: bytes = b""


def item_of(verb: str, job_id: str, token: int, guard: str = TOKEN_STANDS) -> Item:
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
        job.marked = job.tried = job.expiring = job.watched = False
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
        if verb in ENDS:
            self.end(job, ENDS[verb], record=f"record {token}".encode())
            self.totals["run_us"] += 0 if verb == "expire" else 5
            return "s"
        self.past.append((job.id, token))
        job.expiring = verb == "release" and job.may_expire and not job.tried
        job.tried = job.tried or verb != "release"
        job.place, job.token, job.marked = "waiting", 0, False
        self.totals[PAST[verb]] += 1
        self.totals["retrying"] += job.tried
        return "s"
