"""What becomes of the jobs of a dead child."""

from __future__ import annotations

import pytest
import redis

from jobfleet.codec import Limits, read_record
from jobfleet.codec.frames import seal
from jobfleet.config import JobConfig
from jobfleet.errors import how_it_died
from jobfleet.metrics.tally import Tally
from jobfleet.outcome import Cancelled, Outcome, TimedOut
from jobfleet.services.duties.run_settler import RunSettler, Unreadables
from jobfleet.store.aio import AsyncStore
from jobfleet.store.calls import inspect
from jobfleet.store.calls.lease import claim
from jobfleet.store.keys import Keyspace
from jobfleet.worker.ipc.lease_board import Phase, Posted
from jobfleet.worker.supervisor.child_handle import ChildHandle
from jobfleet.worker.supervisor.children import CrashRecovery
from tests.support.seed import Seed

KEYS = Keyspace("jobfleet")
LANE = KEYS.lane("mail", 0)
CHILD = "w.1"


@pytest.fixture
def recovery(store: AsyncStore, redis_url: str) -> CrashRecovery:
    config = JobConfig(url=redis_url, max_crashes=1)
    overdue = RunSettler(store, config, functions=dict, tally=Tally())
    return CrashRecovery(store, KEYS, overdue, Unreadables(store, config, Tally()))


def running(raw: redis.Redis, *phases: Phase) -> list[Posted]:
    """Jobs that the child held when it died, each in a phase."""
    seed = Seed(raw, LANE)
    posted = []
    for number, phase in enumerate(phases, start=1):
        job_id = seed.running(f"j{number}", number, child=CHILD)
        raw.set(LANE.job(job_id), seal({"function": "test.fine"}))
        posted.append(Posted(phase, job_id, number))
    return posted


def where(raw: redis.Redis, posted: list[Posted]) -> list[str]:
    """Where each stands, and what is counted."""
    told = []
    for one in posted:
        tries = (raw.hget(LANE.tries, one.id) or b"").decode().partition("\n")[0]  # type: ignore[union-attr]
        if raw.hexists(LANE.dead, one.id):
            told.append("dead")
        elif raw.zscore(LANE.ready[2], one.id) is not None:
            told.append(f"ready {tries}".strip())
        else:
            told.append("running" if raw.hexists(LANE.runs, one.id) else "gone")
    return told


@pytest.mark.parametrize(
    ("phases", "planned", "after"),
    [
        ((Phase.STARTED,), False, ["dead"]),
        ((Phase.CLAIMED,), False, ["ready"]),
        ((Phase.RETURNED,), False, ["ready"]),
        ((Phase.STARTED,), True, ["ready"]),
        ((Phase.STARTED, Phase.CLAIMED, Phase.RETURNED), False, ["dead", "ready", "ready"]),
        ((Phase.STARTED, Phase.STARTED), False, ["ready 0:0:0:0:1:2", "ready 0:0:0:0:1:2"]),
        ((Phase.STARTED, Phase.APART), False, ["dead", "ready"]),
        ((Phase.STARTED, Phase.STARTED, Phase.APART), False, ["ready 0:0:0:0:1:2", "ready 0:0:0:0:1:2", "ready"]),
        ((Phase.APART,), False, ["dead"]),
        ((Phase.APART, Phase.APART, Phase.CLAIMED), False, ["ready 0:0:0:0:1:2", "ready 0:0:0:0:1:2", "ready"]),
        ((Phase.STARTED, Phase.STARTED), True, ["ready", "ready"]),
        ((Phase.ENDED,), False, ["dead"]),
        ((Phase.STARTED, Phase.ENDED), False, ["ready 0:0:0:0:1:2", "ready 0:0:0:0:1:2"]),
    ],
)
async def test_only_the_one_that_ran_alone_is_charged(
    raw: redis.Redis, recovery: CrashRecovery, phases: tuple[Phase, ...], planned: bool, after: list[str]
) -> None:
    posted = running(raw, *phases)

    settled = await recovery.bury(CHILD, posted, [LANE], "its process died of SIGKILL", planned=planned)

    assert (len(settled), where(raw, posted)) == (len(phases), after)


async def test_the_record_of_the_last_crash_counts_no_crash_as_a_retry(
    raw: redis.Redis, recovery: CrashRecovery, store: AsyncStore
) -> None:
    (one,) = running(raw, Phase.STARTED)
    raw.hset(LANE.tries, one.id, "1:2:0:0:0")

    await recovery.bury(CHILD, [one], [LANE], "its process died of SIGKILL")

    letter = await store.run(inspect.letter(LANE, one.id))
    assert letter is not None
    fields = read_record(letter.record, limits=Limits())
    assert (fields["attempt"], fields["retry_count"]) == (4, 1)


@pytest.mark.parametrize(("bound", "after"), [(3600, "ready 0:1:0:0:1:1"), (1e-6, "dead")])
async def test_a_crash_after_the_bound_by_time_fails_the_job(
    raw: redis.Redis, redis_url: str, store: AsyncStore, bound: float, after: str
) -> None:
    config = JobConfig(url=redis_url)
    settler = RunSettler(store, config, functions=dict, tally=Tally())
    recovery = CrashRecovery(store, KEYS, settler, Unreadables(store, config, Tally()))
    (one,) = running(raw, Phase.STARTED)
    raw.set(LANE.job(one.id), seal({"function": "test.fine", "retry_for": round(bound * 1e6)}))

    await recovery.bury(CHILD, [one], [LANE], "its process died of SIGKILL")

    (found,) = where(raw, [one])
    assert found.startswith(after)


async def test_those_who_have_witnessed_most_are_suspected_first(raw: redis.Redis, recovery: CrashRecovery) -> None:
    posted = running(raw, *[Phase.STARTED] * 5)
    for one, tries in zip(posted, ["0:0:0:0:3:9", "0:0:0:0:3:9", "0:0:0:0:1", "", ""], strict=True):
        if tries:
            raw.hset(LANE.tries, one.id, tries)

    await recovery.bury(CHILD, posted, [LANE], "its process died of SIGKILL")

    assert where(raw, posted) == [
        "ready 0:0:0:0:4:2", "ready 0:0:0:0:4:2", "ready 0:0:0:0:2:3", "ready 0:0:0:0:1:5", "ready 0:0:0:0:1:5",
    ]  # fmt: skip


async def test_a_run_that_another_has_taken_over_may_have_ended_the_process_all_the_same(
    raw: redis.Redis, recovery: CrashRecovery
) -> None:
    posted = running(raw, Phase.STARTED)
    overtaken = Posted(Phase.STARTED, "default.0.lost", 99)

    await recovery.bury(CHILD, [*posted, overtaken], [LANE], "its process died of SIGKILL")

    assert where(raw, posted) == ["ready 0:0:0:0:1:2"], "it did not run alone"


@pytest.mark.parametrize(
    ("verdict", "planned", "after"),
    [
        (TimedOut(1.0), True, ["ready 1:0:0:0:0", "ready", "ready"]),
        (TimedOut(1.0), False, ["ready 1:0:0:0:0", "ready 0:0:0:0:1:2", "ready"]),
        (Cancelled("ann"), True, ["gone", "ready", "ready"]),
    ],
)
async def test_the_condemned_one_ends_as_it_was_condemned_to_and_others_as_ever(
    raw: redis.Redis, recovery: CrashRecovery, verdict: Outcome, planned: bool, after: list[str]
) -> None:
    posted = running(raw, Phase.STARTED, Phase.STARTED, Phase.RETURNED)
    if isinstance(verdict, Cancelled):
        record = raw.hget(LANE.runs, posted[0].id)
        assert isinstance(record, bytes)
        raw.hset(LANE.runs, posted[0].id, record + b"ann@5")

    settled = await recovery.bury(
        CHILD, posted, [LANE], "its process died of SIGKILL", planned=planned, verdicts={posted[0].key: verdict}
    )

    assert (len(settled), where(raw, posted)) == (3, after)


async def test_what_is_settled_already_is_left_alone(raw: redis.Redis, recovery: CrashRecovery) -> None:
    posted = running(raw, Phase.STARTED, Phase.STARTED)
    stale = [posted[0], Posted(Phase.STARTED, posted[1].id, 99)]  # another run owns the second one

    settled = await recovery.bury(CHILD, stale, [LANE], "it died")

    assert len(settled) == 1
    assert where(raw, posted)[1] == "running"


async def test_burying_twice_changes_nothing(raw: redis.Redis, recovery: CrashRecovery) -> None:
    posted = running(raw, Phase.STARTED, Phase.CLAIMED)
    first = await recovery.bury(CHILD, posted, [LANE], "it died")

    second = await recovery.bury(CHILD, posted, [LANE], "it died")

    assert (len(first), len(second)) == (2, 0)


async def test_a_claim_that_comes_after_the_death_is_refused(
    raw: redis.Redis, store: AsyncStore, recovery: CrashRecovery
) -> None:
    await recovery.bury(CHILD, [], [LANE], "it died")
    Seed(raw, LANE).waiting("late")

    answer = await store.run(claim(LANE, child=CHILD, nonce=5, lease_us=10**7, limit=5))

    assert answer.word == "buried"
    assert raw.zcard(LANE.lease) == 0


async def test_a_claim_that_never_came_to_the_board_is_given_back(
    raw: redis.Redis, store: AsyncStore, recovery: CrashRecovery
) -> None:
    job_id = Seed(raw, LANE).waiting("claimed")
    await store.run(claim(LANE, child=CHILD, nonce=1, lease_us=10**7, limit=5))

    settled = await recovery.bury(CHILD, [], [LANE], "it died")

    assert len(settled) == 1
    assert where(raw, [Posted(Phase.CLAIMED, job_id, 0)]) == ["ready"]


async def test_many_are_settled_in_chunks(raw: redis.Redis, recovery: CrashRecovery) -> None:
    posted = running(raw, *[Phase.STARTED] * 130)

    assert len(await recovery.bury(CHILD, posted, [LANE], "it died")) == 130
    assert raw.zcard(LANE.lease) == 0


@pytest.mark.parametrize(
    ("code", "words"),
    [
        (-9, "its process died of SIGKILL"),
        (-11, "its process died of SIGSEGV"),
        (-99, "its process died of signal 99"),
        (3, "its process exited with code 3"),
    ],
)
def test_a_death_is_told_in_words(code: int, words: str) -> None:
    assert how_it_died(code) == words


def test_a_board_that_was_let_go_in_the_middle_of_a_renewal_holds_nothing() -> None:
    handle = ChildHandle("w.1", 0, 4)
    handle.kill(9)
    handle._process.wait()
    import os

    os.close(handle.reports)

    handle.close()

    assert handle.posted() == []
