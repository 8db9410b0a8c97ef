"""Which run the code belongs to, and that nothing but its own code holds a run for long."""

from __future__ import annotations

import asyncio
import gc
import logging
import math
import weakref
from collections.abc import Iterator, Mapping
from types import SimpleNamespace
from typing import Any, cast

import pytest

from jobfleet import BatchItem, Fleet, JobContext
from jobfleet.clock import boottime
from jobfleet.functions.registry import Registry
from jobfleet.outcome import Interrupted
from jobfleet.store.keys import Keyspace
from jobfleet.store.records import Grant
from jobfleet.worker.executors.local import JobThread, LoopExecutor
from jobfleet.worker.run.handlers import Handler
from jobfleet.worker.run.log_capture import CURRENT, JOB_LOGGER, LogCapture, keep_capturing, start_capture, stop_capture
from jobfleet.worker.run.run import Run
from jobfleet.worker.run.writer import RunWriter

LANE = Keyspace("jobfleet").lane("default", 0)


def a_run(until: float = math.inf) -> Run:
    return Run(LANE, Grant("default.0.a", 7, 0, 2, b"", "", ""), 0, until, cast(RunWriter, None))


class Pad:
    """Takes notes."""

    def __init__(self) -> None:
        self.lines: list[str] = []

    def note(self, at_us: int, level: int, text: str) -> None:
        self.lines.append(f"{level} {text}")

    def described(self) -> Mapping[str, object]:
        return {}


@pytest.fixture
def captured() -> Iterator[Pad]:
    start_capture()
    pad = Pad()
    token = CURRENT.set(pad)
    yield pad
    CURRENT.reset(token)
    stop_capture()


# Capture


def test_a_line_is_taken_without_the_lock_that_the_library_takes_for_granted(
    captured: Pad, monkeypatch: pytest.MonkeyPatch
) -> None:
    def handle(handler: logging.Handler, record: logging.LogRecord) -> bool:
        with handler.lock:  # type: ignore[union-attr]  # as from Python 3.13 on
            handler.emit(record)
        return True

    monkeypatch.setattr(logging.Handler, "handle", handle)

    logging.getLogger(f"{JOB_LOGGER}.app.f").warning("taken")

    assert captured.lines == ["30 taken"]


def test_a_line_is_kept_once_though_two_handlers_hear_it(captured: Pad) -> None:
    logging.getLogger(f"{JOB_LOGGER}.test").info("one")

    assert captured.lines == ["20 one"]


def test_the_workers_own_lines_are_not_the_jobs(captured: Pad) -> None:
    logging.getLogger("jobfleet.worker").error("about the job")

    assert captured.lines == []


def test_a_line_outside_of_any_run_is_nobodys(captured: Pad) -> None:
    CURRENT.set(None)

    logging.getLogger("shop").error("nobody's")

    assert captured.lines == []


def test_capturing_twice_keeps_a_line_once_and_ends_with_the_last(captured: Pad) -> None:
    start_capture()
    logging.getLogger("shop").error("one")
    stop_capture()
    logging.getLogger("shop").error("two")

    assert captured.lines == ["40 one", "40 two"]


def test_what_nobody_else_hears_is_printed_as_without_it(
    captured: Pad, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    lonely = logging.getLogger("lonely")
    monkeypatch.setattr(lonely, "propagate", False)
    lonely.addHandler(capture := LogCapture())
    try:
        lonely.info("quiet")
        lonely.warning("loud")
    finally:
        lonely.removeHandler(capture)

    assert capsys.readouterr().err == "loud\n"


def test_it_listens_again_after_logging_was_set_up_anew(captured: Pad) -> None:
    root = logging.getLogger()
    handlers = list(root.handlers)
    root.handlers.clear()
    keep_capturing()
    keep_capturing()
    logging.getLogger("shop").error("still there")
    root.handlers[:] = handlers

    assert captured.lines == ["40 still there"]


def test_it_takes_no_lock() -> None:
    assert LogCapture().lock is None


# The run that the code belongs to


async def test_a_thread_serves_one_run_after_the_other() -> None:
    one, two, thread = a_run(), a_run(), JobThread(asyncio.get_running_loop())

    assert thread.call(one, CURRENT.get, [], {}) == (one, None)
    assert thread.call(two, CURRENT.get, [], {}) == (two, None)
    assert CURRENT.get() is None


async def test_a_run_is_let_go_without_the_garbage_collector() -> None:
    executor, ended = LoopExecutor(), asyncio.Event()
    seen: list[int] = []

    async def function() -> int:
        return id(CURRENT.get())

    def on_end(value: Any, error: BaseException | None) -> None:
        seen.append(value)
        ended.set()

    run = a_run()
    number, gone = id(run), weakref.ref(run)
    handler = cast(Handler, SimpleNamespace(call=function))
    gc.disable()
    try:
        executor.start(run, handler, [], {}, on_end)
        await ended.wait()
        await asyncio.sleep(0)
        del run
        assert gone() is None
    finally:
        gc.enable()
    assert seen == [number]


SEEN: list[weakref.ref[Any]] = []


async def look(ctx: JobContext) -> None:
    SEEN.append(weakref.ref(ctx.port))


async def look_and_fail(ctx: JobContext) -> None:
    SEEN.append(weakref.ref(ctx.port))
    raise ValueError("seen")


def look_in_a_thread(ctx: JobContext) -> None:
    SEEN.append(weakref.ref(ctx.port))


def look_and_fail_in_a_thread(ctx: JobContext) -> None:
    SEEN.append(weakref.ref(ctx.port))
    raise ValueError("seen")


def look_in_a_batch(items: list[BatchItem[int]]) -> None:
    SEEN.extend(weakref.ref(item.context.port) for item in items)
    items[0].fail(ValueError("seen"))
    if len(items) > 1:
        raise ValueError("all of them")


@pytest.mark.parametrize("has_hook", [False, True])
@pytest.mark.parametrize(
    "function", [look, look_and_fail, look_in_a_thread, look_and_fail_in_a_thread, look_in_a_batch]
)
def test_a_job_with_a_context_and_hooks_leaves_no_circle(
    fleet: Fleet, registry: Registry, function: Any, has_hook: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(logging.getLogger("jobfleet.worker"), "disabled", True)  # pytest keeps lines, these their runs
    if has_hook:
        fleet.hooks.before(lambda ctx: None)
        fleet.hooks.after(lambda ctx, outcome: None)
    options: dict[str, Any] = {"batch": 4} if function is look_in_a_batch else {}
    made = registry.register(function, name="test.look", fleet=fleet, **options)
    SEEN.clear()
    for number in range(5):
        made.enqueue(*(number,) if options else ())
    gc.collect()
    gc.disable()
    try:
        fleet.run_worker(burst=True)
        alive = sum(port() is not None for port in SEEN)
    finally:
        gc.enable()

    assert len(SEEN) == 5
    assert alive <= 1, "but for the last, which something on the stack may hold"


# Where a step may begin


async def test_a_step_begins_only_while_the_lease_is_known_to_stand() -> None:
    run = a_run(until=boottime() - 1.0)
    waiting = asyncio.ensure_future(run.lease_confirmed())
    await asyncio.sleep(0.1)
    assert not waiting.done()

    run.lease.until = boottime() + 60.0
    await asyncio.wait_for(waiting, 30)


async def test_a_run_that_is_to_stop_does_not_wait_for_its_lease() -> None:
    run = a_run(until=boottime() - 1.0)
    run.stop.interruption = Interrupted()

    await asyncio.wait_for(run.lease_confirmed(), 30)
