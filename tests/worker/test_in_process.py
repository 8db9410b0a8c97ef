"""`run_worker`: a worker inside the calling process."""

from __future__ import annotations

import asyncio
import threading
import time
from collections.abc import Callable

import pytest
import redis

from jobfleet import AsyncFleet, Fleet, JobContext, JobStatus, Priority, Snooze
from jobfleet.clock import boottime
from jobfleet.errors import InvalidJob
from jobfleet.functions.limiting import Breaker
from jobfleet.functions.registry import Registry
from jobfleet.model.result import ReasonCode
from jobfleet.notify import JobNotificationManager, Notification, NotificationChannel, NotificationRule
from jobfleet.notify.registry import managers
from jobfleet.store.keys import Keyspace
from jobfleet.worker.child import claimer
from jobfleet.worker.run.hooks import StartHookFailed
from tests.support.server import RedisServer
from tests.support.waiting import wait_until
from tests.worker.conftest import Working

LANE = Keyspace("jobfleet").lane("default", 0)
HOUR = 3600.0


def test_a_burst_does_all_there_is_and_returns(fleet: Fleet, registry: Registry) -> None:
    async def on_loop(x: int) -> int:
        return x + 1

    def in_thread(x: int) -> int:
        assert threading.current_thread() is not threading.main_thread()
        return x + 2

    functions = [registry.register(function, name=function.__name__, fleet=fleet) for function in (on_loop, in_thread)]
    handles = [function.enqueue(number) for number in range(20) for function in functions]

    fleet.run_worker(burst=True)

    assert [handle.poll().result for handle in handles] == [n + d for n in range(20) for d in (1, 2)]
    assert fleet.workers() == []


def test_a_job_whose_claim_was_answered_late_starts_at_once(
    redis_url: str, registry: Registry, working: Working, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As after an outage longer than a lease; the next renewal that is due by itself is half an hour away."""
    monkeypatch.setattr(claimer, "boottime", lambda: boottime() - 2 * HOUR)
    with Fleet(redis_url, registry=registry, lease=HOUR, renew_every=HOUR / 2) as fleet:
        function = registry.register(lambda: 7, name="test.seven", fleet=fleet)
        with working(of=fleet):
            assert [function.enqueue().result(timeout=30) for _ in range(3)] == [7, 7, 7]


async def test_an_async_fleet_runs_one_in_a_thread(redis_url: str, registry: Registry) -> None:
    async with AsyncFleet(redis_url, registry=registry) as fleet:
        function = registry.register(threading.get_ident, name="test.where", fleet=fleet)
        job_id = await fleet.enqueue(function.job())

        await fleet.run_worker(burst=True)

        assert (await fleet.poll(job_id)).result != threading.get_ident()


async def test_to_cancel_an_async_fleets_worker_drains_it(redis_url: str, registry: Registry) -> None:
    begun, go_on = threading.Event(), threading.Event()

    def job() -> str:
        begun.set()
        go_on.wait(30)
        return "done"

    async with AsyncFleet(redis_url, registry=registry) as fleet:
        function = registry.register(job, name="test.job", fleet=fleet)
        job_id = await fleet.enqueue(function.job())
        worker = asyncio.ensure_future(fleet.run_worker())
        await asyncio.to_thread(begun.wait, 30)

        worker.cancel()
        go_on.set()
        with pytest.raises(asyncio.CancelledError):
            await worker

        assert (await fleet.poll(job_id)).result == "done"
        assert await fleet.workers() == []


def test_a_burst_with_nothing_to_do_returns(fleet: Fleet) -> None:
    fleet.run_worker(burst=True)


def test_it_serves_the_queues_of_its_functions(fleet: Fleet, registry: Registry, working: Working) -> None:
    function = registry.register(lambda: 1, name="test.one", fleet=fleet, queue="special")

    with working():
        handle = function.enqueue()
        assert handle.result(timeout=30) == 1

    assert handle.id.startswith("special.")


def test_a_blocked_loop_keeps_its_lease(redis_url: str, registry: Registry) -> None:
    runs: list[int] = []

    async def block(ctx: JobContext) -> str:
        runs.append(ctx.fence)
        time.sleep(7.0)
        return "kept"

    with Fleet(redis_url, registry=registry, lease=3.0) as fleet:
        handle = registry.register(block, name="test.block", fleet=fleet).enqueue()
        fleet.run_worker(burst=True)

        assert handle.poll().result == "kept"
    assert len(runs) == 1


def test_it_can_be_stopped_while_redis_is_away(registry: Registry) -> None:
    stop = threading.Event()
    with RedisServer() as server, Fleet(server.url, registry=registry, grace=0.2, lease=6, beat=0.1) as fleet:
        thread = threading.Thread(target=fleet.run_worker, kwargs={"stop": stop}, daemon=True)
        thread.start()
        wait_until(fleet.workers, timeout=30, why="it is there")

        server.kill()
        threading.Event().wait(0.5)  # long enough for a beat that is not answered
        stop.set()
        thread.join(30)

        assert not thread.is_alive()


@pytest.mark.parametrize("text", ["plain", "line\nbreak\x00", "ü" * 40_000], ids=["plain", "control", "long"])
def test_whatever_a_job_raises_is_settled(fleet: Fleet, registry: Registry, working: Working, text: str) -> None:
    kinds = (RuntimeError, ValueError, SystemExit, KeyboardInterrupt, asyncio.CancelledError)

    async def on_loop(number: int) -> None:
        raise kinds[number](text)

    def in_thread(number: int) -> None:
        raise kinds[number](text)

    functions = [registry.register(one, name=one.__name__, fleet=fleet, max_retries=0) for one in (on_loop, in_thread)]
    with working():
        handles = [function.enqueue(number) for function in functions for number in range(len(kinds))]
        assert {handle.wait(timeout=20).status for handle in handles} == {JobStatus.FAILED}


TOO_LARGE = "store it elsewhere and return a reference, or raise the setting max_payload."


def test_a_result_that_cannot_travel_fails_the_job(fleet: Fleet, registry: Registry, working: Working) -> None:
    values: list[object] = [object(), threading.Lock(), "x" * 3_000_000, {1: {2: object()}}, 2**100]
    function = registry.register(values.__getitem__, name="test.odd", fleet=fleet, max_retries=0)

    with working():
        handles = [function.enqueue(number) for number in range(len(values))]
        results = [handle.wait(timeout=20) for handle in handles]

    assert {(result.status, result.error_class) for result in results} == {(JobStatus.FAILED, "EncodingError")}
    assert [result.error for result in results] == [
        "test.odd returned result: object cannot be encoded; return plain data or a reference.",
        "test.odd returned result: lock cannot be encoded; return plain data or a reference.",
        f"test.odd returned result: 3,000,005 bytes, the limit is 1,048,576; {TOO_LARGE}",
        "test.odd returned result[1][2]: object cannot be encoded; return plain data or a reference.",
        "test.odd returned result: int beyond 64 bits cannot be encoded; return it as str.",
    ]


def test_an_error_that_cannot_be_told_is_settled(fleet: Fleet, registry: Registry, working: Working) -> None:
    class Mute(Exception):
        def __str__(self) -> str:
            raise RuntimeError("no")

    async def fail() -> None:
        raise Mute

    function = registry.register(fail, name="test.mute", fleet=fleet, max_retries=0)
    with working():
        assert function.enqueue().wait(timeout=20).error_class == "Mute"


def test_snoozing_counts_nothing(fleet: Fleet, registry: Registry, working: Working, raw: redis.Redis) -> None:
    runs: list[int] = []

    async def snooze(ctx: JobContext) -> int:
        runs.append(ctx.attempt)
        if len(runs) < 3:
            raise Snooze(0.05)
        return ctx.attempt

    function = registry.register(snooze, name="test.snooze", fleet=fleet, max_retries=0)
    with working():
        result = function.enqueue().wait(timeout=30)

    assert (result.result, result.retry_count, runs) == (1, 0, [1, 1, 1])
    assert raw.hlen(LANE.tries) == 0


def started(log: list[int]) -> Callable[[JobContext, int], int]:
    """A function that notes in which order its jobs start."""

    def note(ctx: JobContext, number: int) -> int:
        log.append(number)
        return number

    return note


def test_one_slot_is_strict_about_priority_and_first_come(fleet: Fleet, registry: Registry, working: Working) -> None:
    log: list[int] = []
    function = registry.register(started(log), name="test.note", fleet=fleet)
    for number in range(40):
        function.options(priority=tuple(Priority)[number % 4]).enqueue(number)

    fleet.run_worker(burst=True, slots=1)

    urgency = [tuple(Priority)[number % 4].value for number in range(40)]
    assert log == sorted(range(40), key=lambda number: (-urgency[number], number))


def test_a_delayed_job_is_not_early(fleet: Fleet, registry: Registry, working: Working, raw: redis.Redis) -> None:
    seen: list[float] = []

    def note() -> None:
        seconds, micros = raw.time()
        seen.append(seconds + micros / 1e6)

    function = registry.register(note, name="test.now", fleet=fleet)
    with working():
        seconds, micros = raw.time()
        handle = function.options(delay=1.5).enqueue()
        assert handle.poll().status is JobStatus.SCHEDULED
        handle.wait(timeout=30)

    assert seen[0] >= seconds + micros / 1e6 + 1.5


def test_cancelling_a_waiting_job_keeps_it_from_running(fleet: Fleet, registry: Registry) -> None:
    log: list[int] = []
    function = registry.register(started(log), name="test.note", fleet=fleet)
    handles = [function.enqueue(1), function.options(delay=600).enqueue(2), function.enqueue(3)]

    assert [handle.cancel(by="ann") for handle in handles[:2]] == [True, True]
    fleet.run_worker(burst=True)

    assert [handle.poll().status.value for handle in handles] == ["cancelled", "cancelled", "completed"]
    assert handles[2].cancel() is False
    assert log == [3]


def test_a_function_of_no_use_is_refused(registry: Registry) -> None:
    with pytest.raises(InvalidJob):
        registry.register(lambda: 1)


@pytest.mark.parametrize("threaded", [False, True])
def test_a_cancellation_reaches_a_running_job_long_before_the_next_renewal(
    redis_url: str, registry: Registry, working: Working, threaded: bool
) -> None:
    begun = threading.Event()

    async def on_loop() -> None:
        begun.set()
        await asyncio.sleep(600)

    def in_thread() -> None:
        begun.set()
        while True:
            time.sleep(0.01)

    with Fleet(redis_url, registry=registry, lease=1800) as fleet:  # it is renewed every ten minutes
        function = registry.register(in_thread if threaded else on_loop, name="test.linger", fleet=fleet)
        with working(of=fleet):
            handle = function.enqueue()
            assert begun.wait(30)
            assert handle.cancel(by="ann")
            assert handle.wait(timeout=30).status is JobStatus.CANCELLED


def test_hooks_that_are_added_while_it_works_are_called(fleet: Fleet, registry: Registry, working: Working) -> None:
    told: list[str] = []
    function = registry.register(lambda: 1, name="test.one", fleet=fleet)

    with working():
        assert function.enqueue().result(timeout=30) == 1

        @fleet.hooks.before
        def before(ctx: JobContext) -> None:
            told.append("before")

        @fleet.hooks.after
        async def after(ctx: JobContext, outcome: object) -> None:
            told.append("after")

        assert function.enqueue().result(timeout=30) == 1

    assert told == ["before", "after"]


def test_process_hooks_stand_around_it_and_an_error_ends_it(fleet: Fleet, registry: Registry) -> None:
    told: list[str] = []
    registry.register(lambda: told.append("job"), name="test.one", fleet=fleet).enqueue()
    fleet.hooks.on_start(lambda: told.append("start"))
    fleet.hooks.on_stop(lambda: told.append("stop"))

    fleet.run_worker(burst=True)

    assert told == ["start", "job", "stop"]

    @fleet.hooks.on_start
    async def fail() -> None:
        raise ConnectionError("no model server")

    with pytest.raises(StartHookFailed, match=r"^The on_start hook .*fail failed: ConnectionError: no model server\.$"):
        fleet.run_worker(burst=True)


def test_channels_that_are_added_while_it_works_are_notified(
    fleet: Fleet, registry: Registry, working: Working
) -> None:
    sent: list[str] = []

    class Recording(NotificationChannel):
        name = "recording"

        def send(self, notification: Notification) -> None:
            sent.append(str(notification))

    async def fail() -> None:
        raise ValueError("no")

    function = registry.register(fail, name="test.fail", fleet=fleet)
    manager = JobNotificationManager()
    try:
        with working():
            manager.add_channel(Recording())
            manager.add_rule(NotificationRule(channel="recording", events=("failed",), window=0))
            wait_until(lambda: function.enqueue().wait(timeout=30) and sent, timeout=60, why="it is notified")
    finally:
        managers.remove(manager)


def test_explain_knows_the_named_limit_for_which_a_job_of_this_worker_waits(
    fleet: Fleet, registry: Registry, working: Working
) -> None:
    function = registry.register(lambda: 7, name="test.asks", fleet=fleet, limits=["api"])
    fleet.limits.named("api", concurrency=1)
    fleet.limits.close("api", 600, reason="away")

    with working():
        handle = function.enqueue()
        wait_until(
            lambda: ReasonCode.LIMIT_CLOSED in [one.code for one in fleet.explain(handle.id).reasons],
            timeout=30,
            why="explain names the limit",
        )
        fleet.limits.open("api")
        assert handle.result(timeout=30) == 7


@pytest.mark.parametrize("run_in", ["loop", "thread", "process"])
def test_a_breaker_counts_no_run_that_ends_with_an_exception_that_it_ignores(
    fleet: Fleet, registry: Registry, working: Working, cells: None, run_in: str
) -> None:
    """The class is known only where the function runs."""

    async def on_loop(kind: str) -> None:
        raise picky_error(kind)

    def in_thread(kind: str) -> None:
        raise picky_error(kind)

    breaker = Breaker(0.5, minimum=50, window="1h", ignore=(ValueError, KeyError))
    made = {"loop": on_loop, "thread": in_thread}
    if run_in == "process":
        function = registry.functions["cell.picky"]
    else:
        function = registry.register(made[run_in], name="test.picky", fleet=fleet, max_retries=0, breaker=breaker)
    with working():
        kinds = ["value", "encoding", "key", "away"]
        ended = [fleet.wait(fleet.enqueue(function.job(kind)), timeout=60).status for kind in kinds]
        wait_until(lambda: [one.failed for one in fleet.breakers()] == [1], timeout=30, why="one failure counts")

    assert ended == [JobStatus.FAILED] * 4
    assert [one.succeeded for one in fleet.breakers()] == [0]


def picky_error(kind: str) -> Exception:
    kinds = {"value": ValueError, "encoding": UnicodeError, "key": KeyError, "away": ConnectionError}
    return kinds[kind]("no")
