"""Isolated processes of a worker inside the calling process, and the parts they are made of."""

from __future__ import annotations

import socket
import subprocess
import sys
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

import pytest

from jobfleet import Discard, Fleet, InvalidJob, Job, JobCancelled, JobContext, RetryAfter, Snooze
from jobfleet.errors import EncodingError
from jobfleet.functions.registry import Registry
from jobfleet.model import ErrorType
from jobfleet.model.signals import ForeignError
from jobfleet.outcome import OutOfCpu, OutOfMemory, Raised
from jobfleet.retry.decision import Fail, Policy, Retry, classify, decide, describe
from jobfleet.retry.tries import Tries
from jobfleet.worker.executors.isolated.channel import ChannelEnd, ReceivedFrames, describe_error, error_of, unpacker
from jobfleet.worker.executors.isolated.confinement import oom_kills
from tests.support.each import each
from tests.support.server import is_running
from tests.support.waiting import wait_until
from tests.worker.conftest import Working


def test_a_worker_inside_the_calling_process_has_isolated_processes_too(
    fleet: Fleet, working: Working, cells: None
) -> None:
    with working(slots=2):
        results: list[Any] = [fleet.wait(fleet.enqueue(Job("pid", "cell.pid")), timeout=30).result for _ in range(2)]

    assert results[0] == results[1]
    wait_until(lambda: not is_running(results[0][0]), why="its process has ended with the worker")


@pytest.mark.parametrize(("kind", "other"), [("job_host", "quarantine_host"), ("quarantine_host", "job_host")])
def test_a_process_of_its_own_starts_without_redis_and_without_what_other_kinds_need(kind: str, other: str) -> None:
    mine = [
        "jobfleet.worker.executors.isolated.main",
        f"jobfleet.worker.executors.isolated.{kind}",
        "jobfleet.functions.registry",
    ]
    needless = {"redis", "jobfleet.fleet.sync", "jobfleet.store.aio", f"jobfleet.worker.executors.isolated.{other}"}
    code = f"import sys, {', '.join(mine)}; sys.exit(' '.join({needless} & sys.modules.keys()) or 0)"

    subprocess.run([sys.executable, "-c", code], check=True)


def test_the_last_frame_of_a_run_is_sent_after_all_others_and_at_once_if_there_are_none() -> None:
    ours, theirs = socket.socketpair()
    cuts: list[None] = []
    end = ChannelEnd(theirs, lambda: cuts.append(None))
    ours.setblocking(False)
    end.finish("ended", 1)
    (alone,) = received_frames_of(ours.recv(100))  # it does not wait for another thread
    ours.setblocking(True)

    for number in range(2, 22):
        for _ in range(number % 3):
            end.hint("note", number)
        if number % 2:
            end.report("report", number)
        end.finish("ended", number)
    end.close()
    theirs.close()

    assert alone == ["ended", 1]
    words: dict[int, list[str]] = {}
    for word, number in ReceivedFrames(ours, 100):
        words.setdefault(number, []).append(word)
    ours.close()
    assert sorted(words) == list(range(2, 22))
    for number, sent in words.items():
        assert sorted(sent[:-1]) == ["note"] * (number % 3) + ["report"] * (number % 2), f"frames of {number}"
        assert sent[-1] == "ended"
    assert cuts == []


def received_frames_of(data: bytes) -> list[Any]:
    """The frames in some bytes."""
    source = unpacker(100)
    source.feed(data)
    return list(source)


def test_a_function_that_no_process_can_find_is_refused_with_the_remedy(
    fleet: Fleet, registry: Registry, working: Working
) -> None:
    registry.register(lambda: 1, name="test.hidden", run_in="process")

    with working(slots=1):
        result = fleet.wait(fleet.enqueue(Job("hidden", "test.hidden")), timeout=30)

    assert (result.error_class, result.error_type, result.attempt) == ("InvalidJob", ErrorType.PERMANENT, 1)
    assert "at the top level of a module" in str(result.error)


def test_a_function_of_main_is_refused_with_the_remedy(fleet: Fleet, registry: Registry, working: Working) -> None:
    def local() -> int:
        return 1

    local.__module__ = "__main__"
    registry.register(local, name="test.local", run_in="process")

    with working(slots=1):
        result = fleet.wait(fleet.enqueue(Job("local", "test.local")), timeout=30)

    assert (result.error_class, result.attempt) == ("InvalidJob", 1)
    assert "is defined in __main__" in str(result.error)


def test_hooks_around_a_run_see_the_value_and_the_error(
    fleet: Fleet, registry: Registry, working: Working, cells: None
) -> None:
    seen: list[object] = []

    async def hook(_context: JobContext, go_on: Callable[[], Awaitable[Any]]) -> Any:
        try:
            value = await go_on()
        except ForeignError as error:
            seen.append((error.error_class, str(error)))
            raise
        seen.append(value)
        return value

    registry.around_run.append(hook)
    with working(slots=1):
        assert fleet.wait(fleet.enqueue(Job("add", "cell.add", (1, 2))), timeout=30).result == 3
        assert fleet.wait(fleet.enqueue(Job("fail", "cell.fail", ("value",))), timeout=30).error_class == "ValueError"

    assert seen == [3, ("ValueError", "ValueError: wrong")]


@each(
    "option, value",
    [
        ("memory_limit", "1 potato"), ("memory_limit", 5), ("memory_limit", True), ("cpu_limit", 0), ("cpu_limit", -1),
        ("cpu_limit", "1"), ("nice", -1), ("nice", 20), ("nice", 1.5), ("environment", {"a": 1}),
        ("environment", {"": "b"}), ("environment", {"a=b": "c"}), ("environment", ["a"]), ("on_oom", "no queue!"),
        ("on_oom", "default"),
    ],
)  # fmt: skip
def test_a_limit_that_is_wrong_is_refused_by_name(registry: Registry, option: str, value: Any) -> None:
    with pytest.raises(InvalidJob) as caught:
        registry.register(print, name="f", run_in="process", **{option: value})

    assert caught.value.field == option
    assert str(caught.value).startswith(f"{option} ")


@pytest.mark.parametrize("option", ["memory_limit", "cpu_limit", "nice", "environment", "on_oom"])
def test_a_limit_without_a_process_is_refused_with_the_remedy(registry: Registry, option: str) -> None:
    value: Any = {"memory_limit": "1GiB", "cpu_limit": 1, "nice": 1, "environment": {"a": "b"}, "on_oom": "big"}[option]

    with pytest.raises(InvalidJob, match=r"add run_in='process'\.$") as caught:
        registry.register(print, name="f", **{option: value})
    assert caught.value.field == option
    with pytest.raises(InvalidJob, match="can only be set on the decorator"):
        registry.register(print, name="f").options(**{option: value})


def test_where_a_function_runs_stands_on_its_decorator(registry: Registry) -> None:
    async def co() -> None: ...

    with pytest.raises(InvalidJob, match=r"use 'async', 'thread' or 'process'\.") as caught:
        registry.register(print, name="f", run_in="cloud")
    assert caught.value.field == "run_in"
    with pytest.raises(InvalidJob, match="a def runs in 'thread' or 'process'"):
        registry.register(print, name="f", run_in="async")
    with pytest.raises(InvalidJob, match="an async def runs in 'async' or 'process'"):
        registry.register(co, name="g", run_in="thread")
    function = registry.register(co, name="g", run_in="process")
    assert (function.run_in, registry.register(print, name="f", run_in="thread").run_in) == ("process", "thread")
    assert Job("a", function, run_in="process").run_in == "process"
    for odd in (Job, function.options):
        with pytest.raises(InvalidJob, match="it can only be set on the decorator") as caught:
            odd(*(("a", function) if odd is Job else ()), run_in="thread")
        assert caught.value.field == "run_in"


@pytest.mark.parametrize(
    "error",
    [
        ValueError("a"),
        RuntimeError("b"),
        Snooze(3),
        RetryAfter(4, reason="later"),
        Discard("no use"),
        EncodingError("result['a']: lock", path="result['a']"),
        JobCancelled("own doing"),
        KeyboardInterrupt(),
    ],
)
def test_a_decision_is_the_same_for_an_error_that_was_told(error: BaseException) -> None:
    policy = Policy(retry_jitter=False, discard_on=(RuntimeError,))

    told = error_of(describe_error(error, policy, traceback_bytes=1000), is_stopping=False)

    bare = Policy(retry_jitter=False)
    assert decide(Raised(told), bare, Tries(), 1) == decide(Raised(error), policy, Tries(), 1)
    assert describe(told) == describe(error)
    assert classify(told, bare) == classify(error, policy)


def test_a_job_that_was_told_to_stop_and_did_is_not_blamed() -> None:
    told = describe_error(JobCancelled("asked to"), Policy(), traceback_bytes=0)

    assert isinstance(error_of(told, is_stopping=True), JobCancelled)
    assert isinstance(error_of(told, is_stopping=False), ForeignError)


def test_memory_is_charged_as_a_crash_and_cpu_as_a_timeout() -> None:
    policy = Policy(max_crashes=2, max_retries=1, retry_jitter=False)

    first = decide(OutOfMemory("too much"), policy, Tries(), 1)
    assert isinstance(first, Retry)
    assert (first.delay_us, first.tries.crashes, first.tries.failures) == (0, 1, 0)
    second = decide(OutOfMemory("too much"), policy, first.tries, 1)
    assert isinstance(second, Fail)
    assert second.reason == "oom"
    third = decide(OutOfCpu(2), policy, Tries(), 1)
    assert isinstance(third, Retry)
    assert third.tries.history == ("1 1 used more than 2 s of CPU",)
    fourth = decide(OutOfCpu(2), policy, third.tries, 1)
    assert isinstance(fourth, Fail)
    assert fourth.reason == "timeout"


@pytest.mark.parametrize(
    ("own", "file", "text", "kills"),
    [
        ("0::/app", "app/memory.events", "low 0\noom 2\noom_kill 3\noom_group_kill 0\n", 3),
        ("4:memory:/app\n0::/", "memory/app/memory.oom_control", "under_oom 0\noom_kill 2\n", 2),
        ("3:cpu:/x", "memory/x/memory.oom_control", "oom_kill 2\n", None),
        ("0::/app", "elsewhere/memory.events", "oom_kill 2\n", None),
        ("nonsense", "app/memory.events", "oom_kill 2\n", None),
    ],
)
def test_the_kernels_count_of_deaths_for_memory_is_read_where_there_is_one(
    tmp_path: Path, own: str, file: str, text: str, kills: int | None
) -> None:
    (tmp_path / "own").write_text(own)
    (tmp_path / file).parent.mkdir(parents=True)
    (tmp_path / file).write_text(text)

    assert oom_kills(tmp_path, tmp_path / "own") == kills
    assert oom_kills(tmp_path, tmp_path / "nowhere") is None
