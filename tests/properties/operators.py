"""A lane on a real server, as the state machine moves it, and the acts of operators on its jobs."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, TypeVar

import redis
from hypothesis import strategies as st

from jobfleet.store.call import Call
from jobfleet.store.calls.control import (
    cancel,
    edit,
    pause,
    pause_function,
    put_back,
    replay,
    reschedule,
    resume,
    resume_function,
)
from jobfleet.store.calls.ended import forget
from jobfleet.store.calls.run import signal
from jobfleet.store.records import Edit
from jobfleet.store.script import Script
from jobfleet.store.sync import Store
from tests.lua.model import FUNCTION, MINUTE, OPEN, Model
from tests.lua.world import KEYS, LANE
from tests.support.state import exact, server_now, short

T = TypeVar("T")
Act = TypeVar("Act", bound=Callable[..., None])

ENDED = ("completed", "failed", "cancelled", "expired")
PICK = st.integers(0, 40)
AGAIN = st.booleans()
ACTS: list[tuple[str, dict[str, st.SearchStrategy[Any]]]] = []


def act(weight: int = 1, **drawn: st.SearchStrategy[Any]) -> Callable[[Act], Act]:
    """Something that may happen. Rules of their own would be left out at random, history by history."""

    def register(body: Act) -> Act:
        ACTS.extend([(body.__name__, drawn)] * weight)
        return body

    return register


class Lane(Model):
    """The lane, and how calls are run on it."""

    store: Store
    raw: redis.Redis
    mutants: Mapping[str, Script]

    def run(self, call: Call[T]) -> T:
        return self.store.run(call._replace(script=self.mutants.get(call.script.name, call.script)))

    def dump(self) -> dict[str, Any]:
        return {short(name, KEYS): value for name, value in exact(self.raw).items()}

    def unmoved(self, call: Call[T]) -> T:
        before = self.without_answers()
        answer = self.run(call)
        assert self.without_answers() == before
        return answer

    def without_answers(self) -> dict[str, Any]:
        """All but the answers that are kept of calls by id: running a call value again is a call of its own."""
        return {name: value for name, value in self.dump().items() if not name.startswith("answer:")}

    def scores(self, key: str) -> dict[str, int]:
        found: Any = self.raw.zrange(key, 0, -1, withscores=True)
        return {member.decode(): int(score) for member, score in found}


class Operators(Lane):
    """What operators may do to its jobs at any time."""

    @act(2, pick=PICK, again=AGAIN)
    def is_cancelled(self, pick: int, again: bool) -> None:
        job = self.one(pick, *OPEN) or self.one(pick, *ENDED)
        if job is None:
            return
        call = cancel(KEYS, LANE, [job.id], by="ann", ttl_ms=600_000)
        if job.place not in OPEN:
            assert self.unmoved(call) == "f"
            return
        assert self.run(call) == ("c" if job.place == "waiting" else "r")
        if job.place == "waiting":
            job.token = 0
            self.end(job, "cancelled")
        else:
            job.asked += not job.marked
            job.marked = True
        assert not again or self.unmoved(call) == ("r" if job.marked else "f")

    @act(2, pick=PICK, band=st.integers(0, 3), later=st.booleans(), again=AGAIN)
    def is_rescheduled(self, pick: int, band: int, later: bool, again: bool) -> None:
        job = self.one(pick, "waiting") or self.one(pick, *OPEN, *ENDED)
        if job is None:
            return
        due = server_now(self.raw) + later * MINUTE
        call = reschedule(LANE, [job.id], by="ann", when=str(due), band=band)
        if job.place != "waiting":
            assert self.unmoved(call) == ("r" if job.place == "running" else "f")
            return
        assert self.run(call) == "s"
        assert self.scores(LANE.ready[band])[job.id] == due
        job.band, job.withheld = band, False
        assert not again or self.unmoved(call) == "s"

    @act(2, pick=PICK, again=AGAIN)
    def is_edited(self, pick: int, again: bool) -> None:
        job = self.one(pick, "waiting") or self.one(pick, *OPEN, *ENDED)
        if job is None:
            return
        expected = job.envelope.encode()
        call = edit(LANE, job.id, by="ann", expected=expected, envelope=expected + b" edited")
        if job.place != "waiting":
            assert self.unmoved(call) == ("running" if job.place == "running" else "ended")
            return
        assert self.unmoved(edit(LANE, job.id, by="ann", expected=b"of another", envelope=b"lost")) == "changed"
        assert self.run(call) == "edited"
        job.envelope += " edited"
        job.asked += 1
        assert self.raw.get(LANE.job(job.id)) == job.envelope.encode()
        assert not again or self.unmoved(call) == "changed"

    @act(2, pick=PICK, again=AGAIN)
    def is_forgotten(self, pick: int, again: bool) -> None:
        job = self.one(pick, *ENDED) or self.one(pick, *OPEN)
        if job is None:
            return
        key = f"key {job.id[-3:]}" if job.fancy else ""
        call = forget(LANE, job.id, by="ann", indexes=(), key=key, dependants=0, is_archived=False)
        if job.place in OPEN:
            assert self.unmoved(call) is None
            return
        assert self.run(call) is True
        job.place = "forgotten"
        assert not [name for name in self.without_answers() if name.endswith(f":{job.id}")]
        assert not again or self.unmoved(call) is False

    @act(2, pick=PICK, again=AGAIN)
    def is_signalled(self, pick: int, again: bool) -> None:
        dues = {job_id: due for ready in LANE.ready for job_id, due in self.scores(ready).items()}
        waits = [job.id for job in self.of("waiting") if self.end_of_wait(job.id) == dues[job.id]]
        job = self.jobs[waits[pick % len(waits)]] if waits else self.one(pick, *OPEN, *ENDED)
        if job is None:
            return
        nonce = f"n{self.totals['signalled']}"
        call = signal(LANE, job.id, "go", b"1", by="ann", nonce=nonce, ttl_ms=600_000)
        if job.place in ENDED or job.signalled:
            assert self.unmoved(call) == ("f" if job.place in ENDED else "k")
            return
        assert self.run(call) == "s"
        job.signalled = job.is_kept = True
        job.asked += 1
        self.totals["signalled"] += 1
        if job.id in waits:
            assert self.scores(LANE.ready[job.band])[job.id] <= server_now(self.raw)
        assert not again or self.unmoved(call) == "s"

    def end_of_wait(self, job_id: str) -> int:
        """When the last wait of a job ends, in µs; 0 without one."""
        found: Any = self.raw.hget(LANE.steps(job_id), "@")
        return int(found.split(b" ")[0]) if found else 0

    @act(pick=PICK, edited=st.booleans(), again=AGAIN)
    def is_replayed(self, pick: int, edited: bool, again: bool) -> None:
        job = self.one(pick, "failed")
        if job is None:
            if other := self.one(pick, "waiting", "running", "completed", "cancelled", "expired"):
                assert self.unmoved(replay(LANE, [other.id], by="ann")) == ["already"]
            return
        edits = {}
        if edited:
            assert self.unmoved(replay(LANE, [job.id], by="ann", edits={job.id: Edit("0-1", b"of another")})) == [
                "changed"
            ]
            there: Any = self.raw.hget(LANE.dead, job.id)
            edits[job.id] = Edit(there.decode(), b"edited")
        call = replay(LANE, [job.id], by="ann", edits=edits)
        assert self.run(call) == ["replayed"]
        assert not edited or self.raw.get(LANE.job(job.id)) == b"edited"
        job.envelope = "edited" if edited else job.envelope
        job.place, job.token, job.tried, job.may_expire = "waiting", 0, True, False
        self.totals.update(replayed=1, retrying=1)
        assert not again or self.unmoved(call) == ["already"]

    @act(again=AGAIN)
    def is_paused_or_resumed(self, again: bool) -> None:
        call = resume(LANE) if self.paused else pause(LANE, by="ann")
        assert self.run(call) is True
        self.paused = not self.paused
        assert not again or self.unmoved(call) is False

    @act(2, again=AGAIN)
    def a_function_is_paused_or_resumed(self, again: bool) -> None:
        if not self.is_function_paused:
            call = pause_function(LANE, FUNCTION, by="ann")
            assert self.run(call) is True
            assert not again or self.unmoved(call) is False
        else:
            withheld = [job.id for job in self.of("waiting") if job.withheld]
            back = put_back(LANE, [job.id for job in self.of(*OPEN)] or ["mail.0.none"])
            assert self.run(resume_function(LANE, FUNCTION)) is True
            assert self.run(back) == len(withheld)
            assert not again or self.unmoved(back) == 0
            assert self.run(resume_function(LANE, FUNCTION, is_done=True)) is True
            for job_id in withheld:
                self.jobs[job_id].withheld = False
        self.is_function_paused = not self.is_function_paused
