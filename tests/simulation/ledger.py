"""Follows the exchanges of a run on a model of its jobs, and checks after each what must never be.

It believes only what scripts were asked and answered: which job was granted under which token until when, how it
ended, and by whose call. It never asks the server, so it also judges a server that is wrong. The scripts come in
the order in which the server executed them. After a fault that may lose writes it trusts what it knew of a job only
once the job is granted again; tokens must grow all the same.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

from jobfleet.store.keys import due_of_score
from jobfleet.store.script import load, names
from tests.simulation.coverage import Coverage
from tests.support.chaos.trail import Breach, Happened

FINAL = {"completed", "failed", "cancelled", "expired"}
WAITING = {"blocked", "scheduled", "queued", "retrying", "sleeping"}
TAKES = {
    "complete": 3, "complete_kept": 3, "complete_briefly": 5, "fail": 5, "retry": 2, "release": 2, "wait": 8, "park": 2,
    "expire": 1, "move": 2, "withhold": 2,
}  # fmt: skip
ENDS = {
    "complete": "completed", "complete_kept": "completed", "complete_briefly": "completed", "fail": "failed",
    "expire": "expired", "move": "cancelled", "retry": "retrying", "park": "retrying", "release": "queued",
    "withhold": "queued", "wait": "sleeping",
}  # fmt: skip
LETTERED = {
    "enqueued": 2, "blocked": 2, "unblocked": 2, "cancelled": 1, "settled": 3, "rescheduled": 2, "signalled": 2,
    "undone": 1, "stopping": 1, "cleared": 1,
}  # fmt: skip
"""Where a reply with this first word has its letters."""


@dataclass
class Known:
    """What is known of a job.

    Attributes:
        lane: The tag of its lane.
        state: Its state; a final one stays, except that a dead letter may be replayed.
        band: Its priority; None if it is not known.
        due: When it is due, on the server's clock.
        group: Its group; empty for none.
        policy: How the rest of its strict sequence ends if it fails; empty outside one.
        place: Its place in a strict sequence; None outside one.
        is_sure: Whether no fault may have lost what is known.
        has_begun: Whether it has waited in a run; then it does not expire any more.
        has_failed: Whether a run of it has failed or crashed; then it is `retrying` while it waits for a time.
        is_cancelling: Whether its run was asked to stop.
        token: Of the run that owns it; 0 for none.
        child: Of that run.
        deadline: Of the lease.
        highest: The highest token ever granted for it.
        grants: How often it was granted.
        written: How many scripts had written when it last changed.
        may_be_lost: Whether a fault may have lost all that is known of it.
        by: Who has ended it: ``child``, or ``other``.
    """

    id: str
    lane: str
    state: str
    band: int | None = None
    due: int = 0
    group: str = ""
    policy: str = ""
    place: int | None = None
    is_sure: bool = True
    has_begun: bool = False
    has_failed: bool = False
    is_cancelling: bool = False
    token: int = 0
    child: str = ""
    deadline: int = 0
    highest: int = 0
    grants: int = 0
    written: int = 0
    may_be_lost: bool = False
    by: str = ""


@dataclass
class Ledger:
    """Watches the exchanges of one run; it is the observer of a simulation.

    Attributes:
        jobs: What is known of each job.
        coverage: What was met.
        breaches: What was violated, with the number of the invariant (`scripts/chaos --list`).
        events: What happened to jobs, in order.
        lost_at: The exchange after which a fault may have lost writes; None if none has.
        step: The number of exchanges so far.
        stamp: The server's clock, µs, as it was last read; 0 if a fault has moved it since.
        forgotten: Jobs of which an operator has erased all.
        signals: How often signals of a name were accepted for a job.
    """

    coverage: Coverage = field(default_factory=Coverage)
    jobs: dict[str, Known] = field(default_factory=dict)
    breaches: list[Breach] = field(default_factory=list)
    events: list[Happened] = field(default_factory=list)
    lost_at: int | None = None
    step: int = 0
    stamp: int = 0
    forgotten: set[str] = field(default_factory=set)
    signals: Counter[tuple[str, str]] = field(default_factory=Counter)
    _writes: int = 0
    _paused: set[str] = field(default_factory=set)
    _paused_once: set[str] = field(default_factory=set)
    _may_pause: set[str] = field(default_factory=set)
    """Lanes of which a fault may have lost that they were resumed, until a claim or an operator tells."""
    _has_limits: set[str] = field(default_factory=set)
    _caps: dict[tuple[str, str], int] = field(default_factory=dict)
    _buried: set[tuple[str, str]] = field(default_factory=set)
    _owners: dict[tuple[str, int], str] = field(default_factory=dict)
    _claims: dict[tuple[str, str], tuple[int, dict[str, int]]] = field(default_factory=dict)
    _trips: set[tuple[str, str, str, str]] = field(default_factory=set)
    _once: set[str] = field(default_factory=set)
    _places: Counter[str] = field(default_factory=Counter)
    _gates: dict[str, dict[str, int]] = field(default_factory=lambda: defaultdict(dict))
    _most: dict[str, int] = field(default_factory=dict)
    _caps_written: dict[tuple[str, str], int] = field(default_factory=dict)
    _most_written: dict[str, int] = field(default_factory=dict)

    def __call__(self, now_us: int, script: str, keys: Sequence[Any], args: Sequence[Any], reply: Any) -> None:
        """Take an exchange into account."""
        self.step += 1
        self._writes += script not in READERS
        if not isinstance(reply, list) or not reply:
            self.coverage.scripts[script, type(reply).__name__] += 1
            return
        word = text(reply[0])
        self.coverage.scripts[script, word] += 1
        if (at := LETTERED.get(word)) is not None and len(reply) > at:
            self.coverage.letters.update((script, letter) for letter in set(text(reply[at])))
        was_repeated = word != "too-late" and self._was_repeated(script, keys)
        if script in DEADLINES and word != "too-late" and len(args) > 0 and not was_repeated:
            self._late(script, args)
        if word in STAMPED and len(reply) > 2 and not was_repeated:
            self.stamp = number(reply[1])
        follow = getattr(self, f"_on_{script}", None)
        if follow is None or word == "too-late" or was_repeated:
            return
        follow([text(key) for key in keys], args, reply, word)

    def _was_repeated(self, script: str, keys: Sequence[Any]) -> bool:
        """Whether a script that repeats its first reply has run before."""
        if script not in ONCE:
            return False
        key = text(keys[-1])
        was = key in self._once
        self._once.add(key)
        return was

    def _late(self, script: str, args: Sequence[Any]) -> None:
        """Check that the deadline of a request that was executed has not passed."""
        deadline = number(args[-1])
        if self.stamp and self.stamp > deadline:
            late = (self.stamp - deadline) / 1e6
            self.breach(43, f"a request of {script} was executed {late:.1f} s after its deadline")

    def lose(self, writes: int) -> None:
        """Note that a fault may have lost the last writes: what is known of jobs is uncertain from now on."""
        self.lost_at = self.step
        for job in self.jobs.values():
            job.is_sure = False
            job.may_be_lost |= job.written > self._writes - writes
        self._paused.clear()
        self._may_pause = self._paused_once.copy()
        self._gates.clear()
        self.signals.clear()
        kept = self._writes - writes
        self._caps = {place: most for place, most in self._caps.items() if self._caps_written[place] <= kept}
        self._most = {name: most for name, most in self._most.items() if self._most_written[name] <= kept}

    def step_back(self, by_us: int) -> None:
        """Note that the server's clock has stepped back: leases may be reduced to what was left of them."""
        for job in self.jobs.values():
            job.deadline += by_us

    def is_paused(self, tag: str) -> bool:
        """Whether a lane is paused."""
        return tag in self._paused

    def is_hindered(self, tag: str) -> bool:
        """Whether something else than a free slot decides what a lane grants, or may do so: see `lose`."""
        return tag in self._paused or tag in self._may_pause or tag in self._has_limits

    def states(self) -> list[str]:
        """The states of all jobs, as coverage names them."""
        found = []
        for job in self.jobs.values():
            state = job.state
            if state == "running" and job.is_cancelling:
                state = "cancelling"
            elif state == "queued" and job.lane in self._paused:
                state = "paused"
            found.append(state)
        return found

    # Enqueue

    def _on_enqueue_plain(self, keys: list[str], args: Sequence[Any], reply: list[Any], word: str) -> None:
        if word != "enqueued":
            return
        for key, letter in zip(keys[3:], text(reply[1]), strict=False):
            if letter == "c":
                self._new(job_of(key), text(args[0]), "queued", band=2)

    def _on_enqueue(self, keys: list[str], args: Sequence[Any], reply: list[Any], word: str) -> None:
        tag, now = text(args[0]), number(reply[1])
        for n, letter in enumerate(text(reply[2])):
            item = args[1 + 5 * n : 6 + 5 * n]
            if letter == "c":
                due = when_of(text(item[2]), now)
                self._new(
                    text(item[0]), tag, "scheduled" if due > now else "queued", band=number(item[1]), due=due,
                    meta=text(item[3]),
                )  # fmt: skip

    def _on_block(self, keys: list[str], args: Sequence[Any], reply: list[Any], word: str) -> None:
        if word == "blocked" and number(reply[2]):
            self._new(text(args[1]), text(args[0]), "blocked", band=number(args[2]), meta=text(args[4]))

    def _on_block_many(self, keys: list[str], args: Sequence[Any], reply: list[Any], word: str) -> None:
        for n, letter in enumerate(text(reply[2])):
            if letter == "c":
                self._new(job_of(keys[7 + 3 * n]), text(args[0]), "blocked")

    def _on_unblock(self, keys: list[str], args: Sequence[Any], reply: list[Any], word: str) -> None:
        ids = [job_of(key) for key in keys[10::2]]
        letters = iter(text(reply[2]))
        at = 2
        while at < len(args):
            for n in range(number(args[at + 3])):
                job = self.jobs.get(ids[number(args[at + 4 + n]) - 1])
                if next(letters, "g") == "u" and job and job.state == "blocked":
                    self._move(job, "queued")
                    job.due = 0
            at += 4 + number(args[at + 3])

    def _on_fire(self, keys: list[str], args: Sequence[Any], reply: list[Any], word: str) -> None:
        # A second process may fire what another one fired before the entry and its mark were removed: the job exists.
        old = self.jobs.get(text(args[4]))
        if word == "fired" and (old is None or not old.is_sure or old.state in FINAL):
            self._new(text(args[4]), text(args[0]), "queued", band=number(args[5]))

    def _on_replace(self, keys: list[str], args: Sequence[Any], reply: list[Any], word: str) -> None:
        if word == "replaced":
            self._end(text(args[2]), "cancelled", number(reply[1]))
            due = when_of(text(args[6]), number(reply[1]))
            self._new(text(args[4]), text(args[0]), "queued", band=number(args[5]), due=due, meta=text(args[7]))

    def _on_debounce(self, keys: list[str], args: Sequence[Any], reply: list[Any], word: str) -> None:
        job = self.jobs.get(text(args[2]))
        if word == "debounced" and job:
            job.due, job.band = number(reply[2]), number(args[5])
            self._move(job, "scheduled")

    def _new(self, job_id: str, tag: str, state: str, *, band: int | None = None, due: int = 0, meta: str = "") -> None:
        fields = dict(line.partition(" ")[::2] for line in meta.split("\n"))
        old = self.jobs.get(job_id)
        if old is not None and old.is_sure and old.state not in FINAL:
            self.breach(11, f"{job_id} was enqueued again while it was {old.state}")
        job = Known(job_id, tag, state, band, due, fields.get("g", ""), fields.get("o", ""))
        job.highest = old.highest if old else 0
        if "o" in fields:
            self._places[job.group] += 1
            job.place = self._places[job.group]
        job.written = self._writes
        self.jobs[job_id] = job
        self._happened("enqueued", job)
        self.coverage.events["-", state] += 1

    # Claims and leases

    def _on_claim(self, keys: list[str], args: Sequence[Any], reply: list[Any], word: str) -> None:
        if word == "paused" and text(args[0]) in self._may_pause:
            self._paused.add(text(args[0]))
        if word == "empty" and not self._repeated(text(args[0]), text(args[1]), number(args[2]), {}):
            self._may_pause.discard(text(args[0]))
        if word not in {"claimed", "guarded"}:
            return
        tag, child, nonce, now = text(args[0]), text(args[1]), number(args[2]), number(reply[1])
        words = text(reply[5]).split()
        ids, dues, bands = words[::2], words[1::2], text(reply[4])
        tokens = [int(one) for one in text(reply[3]).split()]
        if len(tokens) < len(ids):
            tokens = [tokens[0] + n for n in range(len(ids))]
        if self._repeated(tag, child, nonce, dict(zip(ids, tokens, strict=True))):
            return
        self._may_pause.discard(tag)
        self._claims[tag, child] = (nonce, dict(zip(ids, tokens, strict=True)))
        if (tag, child) in self._buried:
            self.breach(13, f"{child} was buried, and is granted {len(ids)} jobs")
        if tag in self._paused:
            self.breach(18, f"{len(ids)} jobs of the paused lane {tag} were granted")
        tries = reply[7] if len(reply) > 7 else ()
        for n, job_id in enumerate(ids):
            job = self.jobs.get(job_id) or self._met(job_id, tag)
            job.has_failed = n < len(tries) and has_failures(text(tries[n] or ""))
            self._granted(job, tokens[n], child, now, now + number(args[3]), due_of_score(int(float(dues[n]))))
            job.band = int(bands[n])
        groups = {self.jobs[job_id].group for job_id in ids} - {""}
        self._claimed(tag, now, max(int(one) for one in bands), groups, has_order=bool(text(args[5]) or text(args[6])))

    def _repeated(self, tag: str, child: str, nonce: int, granted: dict[str, int]) -> bool:
        """Whether a claim was sent before; then it must grant what it granted before, as far as that is still owned."""
        before, was = self._claims.get((tag, child), (-1, {}))
        if before != nonce:
            return False
        for job_id in {**was, **granted}:
            job = self.jobs.get(job_id)
            owned = was.get(job_id, 0) if job and job.token == was.get(job_id) else 0
            if job and job.is_sure and granted.get(job_id, 0) != owned:
                answer = f"is granted under {granted[job_id]}" if job_id in granted else "is not granted again"
                self.breach(10, f"claim {nonce} of {child} was executed twice: {job_id} {answer}")
        return True

    def _on_tick(self, keys: list[str], args: Sequence[Any], reply: list[Any], word: str) -> None:
        for row in reply[4]:
            job = self.jobs.get(text(row[0]))
            if job and job.is_sure and not text(row[2]):
                self.breach(3, f"{job.id} has a lease, but no owner, and was {job.state}")

    def _granted(self, job: Known, token: int, child: str, now: int, deadline: int, due: int) -> None:
        name = job.id
        if job.is_sure:
            if job.state in FINAL:
                self.breach(8, f"{name} was granted under {token} after it had {ended(job.state)}")
            elif job.state == "blocked":
                self.breach(20, f"{name} was granted while it was blocked")
            elif job.token:
                self.breach(6, f"{name} was granted under {token} while {job.token} owned it")
        if due > now:
            self.breach(16, f"{name} was granted {(due - now) / 1e6:.1f} s before it was due")
        if token <= job.highest:
            self.breach(4, f"{name} was granted under {token}, after {job.highest}")
        if self._owners.setdefault((job.lane, token), name) != name:
            self.breach(5, f"{token} was granted to {self._owners[job.lane, token]} and to {name}")
        if job.place is not None and job.is_sure:
            for other in self.jobs.values():
                is_earlier = other.group == job.group and other.place is not None and other.place < job.place
                if is_earlier and other.is_sure and other.state not in FINAL:
                    self.breach(39, f"{name} overtook {other.id} of its sequence, which was {other.state}")
        self._move(job, "running")
        job.token, job.child, job.deadline, job.highest = token, child, deadline, max(token, job.highest)
        job.is_sure, job.is_cancelling, job.grants = True, False, job.grants + 1
        self._happened("granted", job, at=now, by=child)

    def _claimed(self, tag: str, now: int, lowest: int, groups: set[str], *, has_order: bool) -> None:
        """Check what holds of a claim as a whole: priorities and the limits of groups."""
        for job in self.jobs.values() if not has_order and tag not in self._has_limits else ():
            is_due = job.lane == tag and job.state in {"queued", "retrying", "scheduled"} and job.due <= now
            if is_due and job.is_sure and not job.group and job.band is not None and job.band < lowest:
                self.breach(17, f"{job.id} of band {job.band} waited while a job of band {lowest} was granted")
        open_here = [one for one in self.jobs.values() if one.lane == tag and one.token != 0 and one.is_sure]
        for group in (*groups, ""):
            most = self._caps.get((tag, group), self._caps.get((tag, "*")) if group else None)
            running = sum(one.group == group or not group for one in open_here)
            if most is not None and running > most:
                whose = f"the group {group}" if group else f"the lane {tag}"
                self.breach(22, f"{running} jobs of {whose} run, {most} may")

    def _on_renew(self, keys: list[str], args: Sequence[Any], reply: list[Any], word: str) -> None:
        now, lease = number(reply[1]), number(args[0])
        lost = {(text(job_id), number(token)) for job_id, token in zip(reply[2][::2], reply[2][1::2], strict=True)}
        for job_id, token in zip(map(text, args[1::2]), map(number, args[2::2]), strict=False):
            job = self.jobs.get(job_id)
            if job is None or not job.is_sure:
                continue
            if (job_id, token) in lost:
                self.coverage.letters["renew", "l"] += 1
            elif job.token != token:
                owner = job.token or f"nobody ({job.state})"
                self.breach(12, f"the lease of {job_id} was renewed for {token}, its owner was {owner}")
            else:
                job.deadline = now + lease
                self._happened("renewed", job, at=now)

    def _on_bury(self, keys: list[str], args: Sequence[Any], reply: list[Any], word: str) -> None:
        self._buried.add((text(args[0]), text(args[1])))

    # The ends of runs

    def _on_settle(self, keys: list[str], args: Sequence[Any], reply: list[Any], word: str) -> None:
        tag, child, alike = text(args[0]), text(args[1]), number(args[5])
        trip = (tag, child, text(args[2]), text(args[3]))
        if word != "settled" or (child and trip in self._trips):
            return
        self._trips.add(trip)
        now, letters = number(reply[1]), text(reply[3])
        tokens = text(args[9]).split()
        items: list[tuple[str, str, str, int, Sequence[Any]]] = [
            ("complete", "token", job_of(keys[24 + n]), int(tokens[n]), ()) for n in range(alike)
        ]
        at = 10 + alike
        while at < len(args) and text(args[at]) in TAKES:
            verb = text(args[at])
            takes = args[at + 4 : at + 4 + TAKES[verb]]
            items.append((verb, text(args[at + 1]), text(args[at + 2]), number(args[at + 3]), takes))
            at += 4 + TAKES[verb]
        for letter, item in zip(letters, items, strict=False):
            self.coverage.letters[f"settle {item[0]} by {item[1]}{' of a child' if child else ''}", letter] += 1
            if letter in "sc":
                self._settled(letter, *item, now=now, child=child)

    def _settled(
        self, letter: str, verb: str, guard: str, job_id: str, token: int, takes: Sequence[Any], *, now: int, child: str
    ) -> None:
        job = self.jobs.get(job_id)
        if job is None:
            return
        state = "cancelled" if letter == "c" else ENDS[verb]
        if job.is_sure and guard in {"token", "expired"}:
            if job.state in FINAL:
                self.breach(8, f"{job_id} had {ended(job.state)}, and is {state} once more under {token}")
            elif job.token != token:
                self.breach(7, f"{job_id} is {state} under {token}, its owner was {job.token or 'nobody'}")
            elif guard == "expired" and job.deadline > now:
                early = (job.deadline - now) / 1e6
                self.breach(13, f"the run {token} of {job_id} was reaped {early:.1f} s before its lease had ended")
            elif not child and guard == "token" and (job.lane, job.child) not in self._buried:
                self.breach(13, f"the run {token} of {job_id} was ended by another while its child lived")
        by = "child" if child else "other"
        if verb == "expire" and job.has_begun:
            state = "queued"
        if state in FINAL:
            self._end(job_id, state, now, token=token, by=by)
            return
        delay = number(takes[2] if verb == "wait" else takes[0]) if takes and verb != "withhold" else 0
        self._happened("returned", job, at=now, by=by)
        job.has_begun = job.has_begun or verb == "wait"
        job.token, job.child, job.due = 0, "", now + delay
        if verb in {"retry", "release", "park"} and len(takes) > 1 and text(takes[1]):
            job.has_failed = has_failures(text(takes[1]))
        if state == "queued" and delay:
            state = "retrying" if job.has_failed else "scheduled"
        if verb in {"withhold", "park"}:
            job.band = None
        self._move(job, state)

    def _end(self, job_id: str, state: str, at: int, *, token: int = 0, by: str = "other") -> None:
        job = self.jobs.get(job_id)
        if job is None:
            return
        self._move(job, state)
        self._happened("ended", job, at=at, token=token, by=by, status=state)
        job.token, job.child, job.is_sure, job.by = 0, "", True, by

    # Operators

    def _on_cancel(self, keys: list[str], args: Sequence[Any], reply: list[Any], word: str) -> None:
        for job_id, letter in zip(map(text, args[5:]), text(reply[1]), strict=False):
            job = self.jobs.get(job_id)
            if job is None:
                continue
            if letter == "c":
                if job.is_sure and job.state not in WAITING:
                    self.breach(19, f"{job_id} was cancelled as a waiting job, and was {job.state}")
                self._end(job_id, "cancelled", 0)
            elif letter == "r":
                job.is_cancelling = True
                self.coverage.events["running", "cancelling"] += 1

    def _on_replay(self, keys: list[str], args: Sequence[Any], reply: list[Any], word: str) -> None:
        for n, answer in enumerate(map(text, reply[2])):
            job = self.jobs.get(text(args[2 + 4 * n]))
            if answer == "replayed" and job:
                self._move(job, "queued")
                job.due, job.is_sure, job.has_begun = 0, True, False
                job.token, job.child, job.band = 0, "", None  # a fault may have lost the run that was known last
                self._happened("replayed", job, at=number(reply[1]))

    def _on_undo_replay(self, keys: list[str], args: Sequence[Any], reply: list[Any], word: str) -> None:
        for job_id, letter in zip(map(text, args[2:]), text(reply[1]), strict=False):
            if letter == "u" and job_id in self.jobs:
                self._move(self.jobs[job_id], "failed")

    def _on_reschedule(self, keys: list[str], args: Sequence[Any], reply: list[Any], word: str) -> None:
        now = number(reply[1])
        for job_id, letter in zip(map(text, args[4:]), text(reply[2]), strict=False):
            job = self.jobs.get(job_id)
            if letter == "s" and job:
                if text(args[2]):
                    job.due = when_of(text(args[2]), now)
                if text(args[3]):
                    job.band = number(args[3])

    def _on_signal(self, keys: list[str], args: Sequence[Any], reply: list[Any], word: str) -> None:
        job = self.jobs.get(text(args[1]))
        if text(reply[2]) == "s" and job:
            self.signals[job.id, text(args[2])] += 1
            if self.signals[job.id, text(args[2])] > 1:
                self.breach(37, f"a second signal {text(args[2])!r} was accepted for {job.id}")
            if job.state == "sleeping":
                job.due = 0
            job.has_begun = True
            self.coverage.events[job.state, "signalled"] += 1

    def _on_forget(self, keys: list[str], args: Sequence[Any], reply: list[Any], word: str) -> None:
        if word == "forgotten":
            self.forgotten.add(text(args[1]))

    def _on_purge(self, keys: list[str], args: Sequence[Any], reply: list[Any], word: str) -> None:
        self.forgotten.update(map(text, args))

    def _on_forget_steps(self, keys: list[str], args: Sequence[Any], reply: list[Any], word: str) -> None:
        for key in [key for key in self.signals if key[0] == text(args[1])]:
            del self.signals[key]

    def _on_pause(self, keys: list[str], args: Sequence[Any], reply: list[Any], word: str) -> None:
        tag = tag_of(keys[0])
        self._paused.add(tag)
        self._paused_once.add(tag)
        self._may_pause.discard(tag)

    def _on_resume(self, keys: list[str], args: Sequence[Any], reply: list[Any], word: str) -> None:
        self._paused.discard(tag_of(keys[0]))
        self._may_pause.discard(tag_of(keys[0]))

    def _on_pause_function(self, keys: list[str], args: Sequence[Any], reply: list[Any], word: str) -> None:
        self._has_limits.add(tag_of(keys[0]))

    def _on_set_limit(self, keys: list[str], args: Sequence[Any], reply: list[Any], word: str) -> None:
        tag, name, value = text(args[0]), text(args[1]), text(args[2])
        if not name.startswith("limit:"):
            self._has_limits.add(tag)
            return
        if value != "=":
            self._cap(tag, name[6:], value)

    def _on_declare(self, keys: list[str], args: Sequence[Any], reply: list[Any], word: str) -> None:
        for n in range(number(args[1]) if word == "declared" else 0):
            name, value = text(args[2 + 3 * n]), text(args[3 + 3 * n])
            self._cap(tag_of(keys[0]), name[6:], value)

    def _cap(self, tag: str, group: str, value: str) -> None:
        """Note how many jobs of a group may run at once, or of a lane; operators of plans set no other limits."""
        most = (value.split() or [""])[0]
        self._caps.pop((tag, group), None)
        if most.isdigit() and int(most):
            self._caps[tag, group], self._caps_written[tag, group] = int(most), self._writes

    # Named limits

    def _on_define_limit(self, keys: list[str], args: Sequence[Any], reply: list[Any], word: str) -> None:
        name, most = text(args[0]), text(args[4])
        self._most.pop(name, None)
        if most.isdigit() and int(most):
            self._most[name] = int(most)
            self._most_written[name] = self._writes

    def _on_pass_gates(self, keys: list[str], args: Sequence[Any], reply: list[Any], word: str) -> None:
        count, at = number(args[1]), 2
        gates = [text(args[2 + 2 * n]) for n in range(count)]
        at += 2 * count
        for refusal in reply[2] if word == "passed" else ():
            demands = number(args[at + 2])
            for d in range(demands if number(refusal) == 0 else 0):
                inside = self._gates[gates[number(args[at + 3 + 2 * d]) - 1]]
                inside[text(args[at + 1])] = number(reply[1])
            at += 3 + 2 * demands
        for gate in gates:
            if gate in self._most and len(self._gates[gate]) > self._most[gate]:
                self.breach(40, f"{len(self._gates[gate])} runs are inside the limit {gate}, {self._most[gate]} may")

    def _on_leave_gates(self, keys: list[str], args: Sequence[Any], reply: list[Any], word: str) -> None:
        count = number(args[3])
        at = 4 + 2 * count
        while at + 4 < len(args):
            for inside in self._gates.values():
                inside.pop(text(args[at]), None)
            at += 5 + 2 * number(args[at + 4])

    # Notes

    def _met(self, job_id: str, tag: str) -> Known:
        """A job that nobody was seen to enqueue."""
        if self.lost_at is None:
            self.breach(2, f"{job_id} was granted, and nobody had enqueued it")
        self.jobs[job_id] = Known(job_id, tag, "queued", is_sure=False)
        return self.jobs[job_id]

    def _move(self, job: Known, state: str) -> None:
        self.coverage.events["cancelling" if job.is_cancelling else job.state, state] += 1
        job.state, job.written = state, self._writes

    def _happened(
        self, event: str, job: Known, *, at: int = 0, token: int | None = None, by: str = "", status: str = ""
    ) -> None:
        self.events.append(Happened(self.step, at, event, job.id, job.token if token is None else token, by, status))

    def breach(self, invariant: int, what: str) -> None:
        """Note a violation."""
        self.breaches.append(Breach(invariant, f"exchange {self.step}: {what}"))


ONCE = frozenset(name for name in names() if load(name).is_once)
"""Scripts that store their reply under the id of the call, their last key, and repeat it."""
READERS = frozenset(name for name in names() if load(name).read_only)
DEADLINES = frozenset(name for name in names() if load(name).has_deadline)
"""Scripts that do nothing after a deadline, which is their last argument."""
STAMPED = frozenset({
    "claimed", "empty", "settled", "renewed", "ticked", "enqueued", "buried", "unblocked", "blocked", "passed", "left",
})  # fmt: skip
"""First words of replies whose second word is the server's time; a plain enqueue has none."""


def text(value: Any) -> str:
    """A word of a request or a reply, which may be bytes."""
    return value.decode("utf-8", "surrogateescape") if isinstance(value, bytes) else str(value)


def number(value: Any) -> int:
    """A number of a request or a reply."""
    return int(float(value)) if isinstance(value, float) else int(value or 0)


def job_of(key: str) -> str:
    """The job of a key such as ``{jobfleet:mail:0}:job:mail.0.a``."""
    return key.rpartition("}:job:")[2]


def tag_of(key: str) -> str:
    """The tag of a key, with its colon."""
    return key.partition("}:")[0] + "}:"


def when_of(when: str, now: int) -> int:
    """A due time: now, from now, or at a time."""
    if not when:
        return now
    return now + int(when[1:]) if when.startswith("+") else int(when)


def has_failures(tries: str) -> bool:
    """Whether a record of tries, ``failures:crashes:…``, counts a failed or a crashed run."""
    return any(count not in ("", "0") for count in tries.split(":")[:2])


def ended(state: str) -> str:
    """A final state as a past tense."""
    return "been cancelled" if state == "cancelled" else state
