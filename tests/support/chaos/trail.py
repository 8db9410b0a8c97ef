"""What the server did, job by job, from its append-only file; and what it must never have done, checked at every step.

The scripts run one after the other, and the file has their writes in that order. So this is the exact order of events,
which no client can observe, and it costs the product nothing.
"""

from __future__ import annotations

import re
from collections import Counter, defaultdict
from collections.abc import Collection, Iterable
from dataclasses import dataclass, field
from pathlib import Path
from typing import NamedTuple

from jobfleet.store.keys import BANDS, BLOCKED, WITHHELD, due_of_score
from tests.support.chaos.aof import Step, steps
from tests.support.chaos.replica import Replica, text

KEY = re.compile(r"^(\{[^{}:]+:[^{}]+\}:)(ready:\d|lease|runs|job|result|dlq|claim|sent)(?::?)(.*)$", re.DOTALL)
SECOND = 1_000_000
SLACK = 2 * SECOND
"""The file has the clock in whole seconds only, and the server writes them a moment late."""


class Happened(NamedTuple):
    """One event of a job on the server.

    Attributes:
        step: The number of the script that caused it.
        at: The server's clock in µs, exact for grants and endings.
        event: `enqueued`, `granted`, `renewed`, `returned` (it waits again) or `ended`.
        id: The job.
        token: The fencing token of the run.
        by: The child for a grant; `child` or `other` (a supervisor or a reaper) for the end of a run.
        status: How it ended.
    """

    step: int
    at: int
    event: str
    id: str
    token: int = 0
    by: str = ""
    status: str = ""


class Breach(NamedTuple):
    """A violation of an invariant."""

    invariant: int
    what: str


@dataclass
class Trail:
    """A trail that was followed to its end.

    Attributes:
        events: In the server's order.
        breaches: What was violated on the way.
        replica: The final state.
        steps: The number of scripts.
        buried: Dead letters by job.
    """

    events: list[Happened] = field(default_factory=list)
    breaches: list[Breach] = field(default_factory=list)
    replica: Replica = field(default_factory=Replica)
    steps: int = 0
    buried: Counter[str] = field(default_factory=Counter)

    def of(self, event: str) -> list[Happened]:
        """All events of a kind."""
        return [one for one in self.events if one.event == event]


class _Before(NamedTuple):
    """What was known of a job before a step."""

    score: float | None
    band: int
    deadline: float | None
    run: str | None
    has_ended: bool


class _Follower:
    def __init__(self, caps: dict[str, int], limited: frozenset[str]) -> None:
        self.trail = Trail()
        self._caps = caps
        self._limited = limited
        self._nonces: dict[str, set[str]] = defaultdict(set)
        self._tokens: dict[str, dict[int, str]] = defaultdict(dict)
        self._highest: dict[str, int] = {}

    def follow(self, all_steps: Iterable[Step]) -> Trail:
        for step in all_steps:
            self._one(step)
        return self.trail

    def _one(self, step: Step) -> None:
        replica, lanes = self.trail.replica, _touched(step)
        before = {(tag, job_id): self._look(tag, job_id) for tag, ids in lanes.items() for job_id in ids}
        for command in step.commands:
            replica.apply(command)
        self.trail.steps += 1
        if step.is_base:
            return
        sent = any(b":sent:" in command[1] for command in step.commands if len(command) > 1)
        granted: dict[str, list[tuple[str, _Before]]] = defaultdict(list)
        for (tag, job_id), was in before.items():
            now = self._look(tag, job_id)
            self._placed(tag, job_id, now)
            if now.run is not None and _token(now.run) != _token(was.run):
                granted[tag].append((job_id, was))
                self._granted(tag, job_id, was, now)
            elif was.run is not None and now.run is None:
                self._left(step, tag, job_id, was, now, sent=sent)
            elif now.has_ended and not was.has_ended:
                self._ended(step, tag, job_id, was, sent=sent)
            elif was.score is None and was.run is None and now.score is not None:
                self._event(step.at * SECOND, "enqueued", job_id)
            elif now.deadline is not None and was.deadline is not None and now.deadline != was.deadline:
                self._event(step.at * SECOND, "renewed", job_id, _token(now.run))
            if was.has_ended and now.has_ended and self._was_ended_again(step, tag, job_id):
                self._breach(8, f"{job_id} ended a second time")
        self._nonce(step)
        for tag, jobs in granted.items():
            self._claimed(step, tag, jobs)
        self._letters(step)

    def _look(self, tag: str, job_id: str) -> _Before:
        sets, hashes = self.trail.replica.sets, self.trail.replica.hashes
        band, score = next(
            ((band, sets[key][job_id]) for band in range(BANDS) if job_id in sets.get(key := f"{tag}ready:{band}", {})),
            (-1, None),
        )
        return _Before(
            score,
            band,
            sets.get(f"{tag}lease", {}).get(job_id),
            hashes.get(f"{tag}runs", {}).get(job_id),
            f"{tag}result:{job_id}" in self.trail.replica.texts,
        )

    def _placed(self, tag: str, job_id: str, now: _Before) -> None:
        """Invariants 1, 3 and 12: a job is in exactly one place, and a lease has an owner."""
        if (now.deadline is None) != (now.run is None):
            self._breach(3, f"{job_id} has {'no lease, but an owner' if now.run else 'a lease, but no owner'}")
        has_envelope = f"{tag}job:{job_id}" in self.trail.replica.texts
        bands = [band for band in range(BANDS) if job_id in self.trail.replica.sets.get(f"{tag}ready:{band}", {})]
        places = [f"ready:{band}" for band in bands] + ["lease"] * (now.deadline is not None)
        if len(places) > 1:
            self._breach(1, f"{job_id} is in {' and '.join(places)}")
        elif has_envelope and not places:
            self._breach(1, f"{job_id} has an envelope, but is in no set")
        elif places and now.has_ended:
            self._breach(1, f"{job_id} has ended, and is in {places[0]}")
        elif places and not has_envelope:
            self._breach(1, f"{job_id} is in {places[0]} without an envelope")

    def _granted(self, tag: str, job_id: str, was: _Before, now: _Before) -> None:
        token, stamp = _token(now.run), int(str(now.run).split("|")[2])
        self._event(stamp, "granted", job_id, token, by=str(now.run).split("|")[1])
        if was.run is not None:
            self._breach(6, f"{job_id} was granted under {token} while {_token(was.run)} owned it")
        elif was.score is None:
            self._breach(6, f"{job_id} was granted under {token}, but was not ready")
        elif was.score >= WITHHELD:
            self._breach(20 if was.score >= BLOCKED else 18, f"{job_id} was granted while it was blocked or withheld")
        elif due_of_score(int(was.score)) > stamp:
            self._breach(16, f"{job_id} was granted at {stamp}, due at {due_of_score(int(was.score))}")
        if token <= self._highest.get(job_id, 0):
            self._breach(4, f"{job_id} was granted under {token}, after {self._highest[job_id]}")
        self._highest[job_id] = max(token, self._highest.get(job_id, 0))
        if self._tokens[tag].setdefault(token, job_id) != job_id:
            self._breach(5, f"{token} was granted to {self._tokens[tag][token]} and to {job_id}")

    def _claimed(self, step: Step, tag: str, jobs: list[tuple[str, _Before]]) -> None:
        """Invariants 17, 18 and 22: of one claim."""
        replica = self.trail.replica
        if "paused" in replica.hashes.get(f"{tag}conf", {}):
            self._breach(18, f"{len(jobs)} jobs of the paused lane {tag} were granted")
        stamp = int(replica.hashes[f"{tag}runs"][jobs[0][0]].split("|")[2])
        lowest = max(was.band for _, was in jobs)
        for band in range(max(lowest, 0)):
            waiting = replica.sets.get(f"{tag}ready:{band}", {})
            due = (job_id for job_id, score in waiting.items() if 0 <= score <= stamp)
            urgent = next((job_id for job_id in due if job_id not in self._limited), None)
            if urgent is not None:
                self._breach(17, f"{urgent} of band {band} waited while a job of band {lowest} was granted")
        running = Counter(member.partition("\0")[0] for member in replica.sets.get(f"{tag}held", {}))
        for group, cap in self._caps.items():
            if running[group] > cap:
                self._breach(22, f"{running[group]} jobs of group {group} ran, its limit is {cap}")

    def _nonce(self, step: Step) -> None:
        """Invariant 10: a claim that is repeated writes nothing."""
        for command in step.commands:
            if command[0].upper() == b"SET" and b"}:claim:" in command[1]:
                child, nonce = text(command[1]), text(command[2]).split(" ")[0]
                if nonce in self._nonces[child]:
                    self._breach(10, f"claim {nonce} of {child} was executed twice")
                elif nonce.isdigit():
                    self._nonces[child].add(nonce)

    def _left(self, step: Step, tag: str, job_id: str, was: _Before, now: _Before, *, sent: bool) -> None:
        """A run was ended."""
        if now.has_ended:
            self._ended(step, tag, job_id, was, sent=sent)
        else:
            by = "child" if sent else "other"
            self._event(step.at * SECOND, "returned", job_id, _token(was.run), by=by)
        claim = self.trail.replica.texts.get(f"{tag}claim:{str(was.run).split('|')[1]}", "")
        buried = claim.startswith("buried")
        expired = (was.deadline or 0) <= step.at * SECOND + SLACK
        if not (sent or buried or expired):
            self._breach(13, f"the run {_token(was.run)} of {job_id} was reaped before its lease had ended")

    def _ended(self, step: Step, tag: str, job_id: str, was: _Before, *, sent: bool) -> None:
        line = self.trail.replica.texts[f"{tag}result:{job_id}"].partition("\n")[0]
        status, at, token, *_ = line.split(" ")
        owner = _token(was.run)
        by = "child" if sent else "other"
        self._event(int(at) if at.isdigit() else step.at * SECOND, "ended", job_id, int(token), by=by, status=status)
        if status in {"completed", "failed"} and int(token) != owner:
            self._breach(7, f"{job_id} {status} under {token}, its owner was {owner or 'nobody'}")

    def _was_ended_again(self, step: Step, tag: str, job_id: str) -> bool:
        key = f"{tag}result:{job_id}".encode()
        return any(key in command for command in step.commands if command[0].upper() in {b"SET", b"MSET", b"MSETEX"})

    def _letters(self, step: Step) -> None:
        for command in step.commands:
            if command[0].upper() == b"XADD" and command[1].endswith(b"}:dlq"):
                names = command[command.index(b"id") :]
                self.trail.buried[text(names[1])] += 1

    def _event(self, at: int, event: str, job_id: str, token: int = 0, *, by: str = "", status: str = "") -> None:
        self.trail.events.append(Happened(self.trail.steps, at, event, job_id, token, by, status))

    def _breach(self, invariant: int, what: str) -> None:
        self.trail.breaches.append(Breach(invariant, f"step {self.trail.steps}: {what}"))


def follow(path: Path, *, caps: dict[str, int] | None = None, limited: Collection[str] = ()) -> Trail:
    """Follow a saved append-only file.

    Args:
        path: The file.
        caps: The most jobs that may run at once, by group.
        limited: The jobs of named limits: while these are full, jobs of lower priority run.
    """
    return _Follower(caps or {}, frozenset(limited)).follow(steps(path))


def _token(run: str | None) -> int:
    """The token of a run's record; 0 for none."""
    head = (run or "").partition("|")[0]
    return int(head) if head.isdigit() else 0


def _touched(step: Step) -> dict[str, set[str]]:
    """The jobs of each lane that a step writes to."""
    found: dict[str, set[str]] = defaultdict(set)
    for words in step.commands:
        for at, word in enumerate(words[1:], 1):
            match = KEY.match(text(word)) if word[:1] == b"{" else None
            if match is None:
                continue
            tag, name, rest = match[1], match[2], match[3]
            if name in {"job", "result"}:
                found[tag].add(rest)
            elif at == 1 and (name in {"lease", "runs"} or name.startswith("ready")):
                found[tag].update(text(part) for part in words[2:] if part[:1].isalpha() and b"." in part)
    return found
