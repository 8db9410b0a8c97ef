"""A circuit breaker on real workers: it opens, tries, opens again and closes, as an observer outside of Redis sees."""

from __future__ import annotations

import json
from datetime import UTC, datetime
from pathlib import Path

import pytest

from jobfleet import Fleet, InvalidJob, Job, JobStatus
from jobfleet.model.limits import BreakerInfo
from jobfleet.model.result import ReasonCode
from tests.e2e.test_named_limits import await_reason, enqueue, seen
from tests.support.fleet import LONG, Programs, settle_all
from tests.support.receiver import Receiver
from tests.support.waiting import wait_until

pytestmark = pytest.mark.timeout(300)
NAME, COOLDOWN_US, TRIAL = "function:gated.flaky", 1_000_000, 2


def breaker(fleet: Fleet) -> BreakerInfo:
    return next(iter(fleet.breakers()), BreakerInfo(""))


def bursts(starts: list[int]) -> list[int]:
    """How many runs started together, for each group of starts with most of a cooldown between it and the next."""
    found: list[int] = []
    for number, at in enumerate(starts):
        if number and at - starts[number - 1] < COOLDOWN_US * 0.8:
            found[-1] += 1
        else:
            found.append(1)
    return found


def test_a_breaker_opens_tries_and_closes(own_programs: Programs, own_fleet: Fleet, tmp_path: Path) -> None:
    flag = tmp_path / "away"
    flag.touch()

    def starts() -> list[int]:
        return [row.at_us for row in seen(own_programs, "flaky")]

    with Receiver() as receiver:
        hook = {"type": "webhook", "url": receiver.url, "allow_http": True, "allow_private": True}
        rules = [{"events": ["breaker"], "window": 0}]
        notify = json.dumps({"channels": {"team": hook}, "rules": rules})
        for host in (1, 0):
            own_programs.ready("gated", processes=1, slots=2, lease=2, with_reaper=host, notify=notify)

        # While the service is away, a trial of two runs follows each cooldown, and nothing else starts.
        ids = enqueue(own_fleet, *[Job("flaky", "gated.flaky", (str(flag),)) for _ in range(24)])
        wait_until(lambda: len(bursts(starts())) > 2, timeout=LONG, why="there were two trials")
        before = settle_all(own_fleet, enqueue(own_fleet, Job("free", "gated.free")))
        notice = wait_until(lambda: list(receiver.requests), timeout=LONG, why="it is reported")[0].data
        waiting = next(one.id for one in own_fleet.poll_many(ids) if one and not one.status.is_final)
        text = await_reason(own_fleet, waiting, ReasonCode.BREAKER_OPEN)
        opened = breaker(own_fleet)

        flag.unlink()
        after = settle_all(own_fleet, ids)
        wait_until(lambda: breaker(own_fleet).state == "closed", timeout=LONG, why="it closes")

    assert {one.status for one in before.values()} == {JobStatus.COMPLETED}
    assert (notice["event"], notice["job"]["id"]) == ("breaker", NAME)
    assert f"Breaker {NAME!r} was opened by" in text
    assert opened.name == NAME
    assert str(opened.by).rpartition(".")[0] in {one.id for one in own_fleet.workers()}, "a worker has opened it"
    assert opened.opened_at is not None
    assert opened.opened_at < datetime.now(UTC)
    assert breaker(own_fleet).reason == "2 runs of its trial succeeded"
    first, *trials = bursts(starts())
    slots = 2 * 2
    assert 4 <= first < 4 + slots, "three have failed, and each slot may have one run"
    assert [count for count in trials[:-1] if count > TRIAL] == [], "only trials start while the service is away"
    assert sum(1 for one in after.values() if one.status is JobStatus.FAILED) >= first + len(trials[:-1])
    assert len(starts()) == 24, "each job has run once: those that waited were not charged"


def test_an_operator_opens_and_closes_a_breaker(own_programs: Programs, own_fleet: Fleet, tmp_path: Path) -> None:
    own_programs.ready("gated", processes=1, slots=2, lease=2)
    for wrong in ("function:gated.flakey", "function:gated.nap", "limit:few"):  # nobody has these
        with pytest.raises(InvalidJob, match=f"There is no breaker '{wrong}'"):
            own_fleet.breakers.open(wrong)
    own_fleet.breakers.open(NAME, reason="until they call back", by="ann")
    (waiting,) = enqueue(own_fleet, Job("flaky", "gated.flaky", (str(tmp_path / "none"),)))
    settle_all(own_fleet, enqueue(own_fleet, Job("free", "gated.free")))
    assert "was opened by ann" in await_reason(own_fleet, waiting, ReasonCode.BREAKER_OPEN)

    own_fleet.breakers.open(NAME, 0.2, by="ann")
    (more,) = enqueue(own_fleet, Job("flaky", "gated.flaky", (str(tmp_path / "none"),)))
    found = settle_all(own_fleet, [waiting, more])
    assert {one.status for one in found.values()} == {JobStatus.COMPLETED}
    wait_until(lambda: breaker(own_fleet).state == "closed", timeout=LONG, why="two runs have succeeded, so it closes")
