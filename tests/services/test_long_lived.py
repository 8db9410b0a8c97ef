"""Tasks that live as long as their process: no error ends them, and each fault is reported once."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable

import pytest

from jobfleet.errors import ConfigError
from jobfleet.logs import contain_handler_errors
from jobfleet.services.long_lived import RepeatedFault, Restarts, for_each, keep_running
from tests.support.waiting import await_until

AT_ONCE = Restarts(first=0.0, longest=0.0, steady=0.0)


@pytest.fixture
def faults(caplog: pytest.LogCaptureFixture) -> RepeatedFault:
    caplog.set_level(logging.INFO, "tests.lived")
    return RepeatedFault(logging.getLogger("tests.lived"), "work")


def failing(*errors: BaseException) -> tuple[Callable[[], Awaitable[None]], list[int]]:
    """Work that fails with each of these errors, and then returns; and when it was begun."""
    begun: list[int] = []

    async def work() -> None:
        begun.append(len(begun))
        await asyncio.sleep(0)
        if len(begun) <= len(errors):
            raise errors[len(begun) - 1]

    return work, begun


async def test_it_begins_again_after_any_error(faults: RepeatedFault) -> None:
    errors = (LookupError("planted"), ConfigError("planted"), asyncio.CancelledError("inside"), RuntimeError())
    work, begun = failing(*errors)
    seen: list[BaseException] = []

    await keep_running(work, faults, restarts=AT_ONCE, on_failure=seen.append)

    assert (len(begun), [type(error) for error in seen]) == (5, [type(error) for error in errors])


async def test_a_handler_that_fails_at_the_report_does_not_end_it() -> None:
    class Broken(logging.Handler):
        def emit(self, record: logging.LogRecord) -> None:
            raise LookupError(f"planted: {record.getMessage()}")

    contain_handler_errors()
    log, handler = logging.getLogger("jobfleet.worker"), Broken()
    work, begun = failing(RuntimeError("planted"), ConfigError("planted"))
    log.addHandler(handler)
    try:
        await keep_running(work, RepeatedFault(log, "work"), restarts=AT_ONCE)
    finally:
        log.removeHandler(handler)

    assert len(begun) == 3


async def test_a_fault_that_repeats_is_reported_once_with_its_traceback(
    faults: RepeatedFault, caplog: pytest.LogCaptureFixture
) -> None:
    work, begun = failing(*[LookupError("planted")] * 50)

    await keep_running(work, faults, restarts=AT_ONCE)

    (record,) = [one for one in caplog.records if one.levelno == logging.ERROR]
    assert len(begun) == 51
    assert record.getMessage() == "work.stumbled LookupError: planted"
    assert record.exc_info is not None


async def test_it_says_when_the_fault_is_over(faults: RepeatedFault, caplog: pytest.LogCaptureFixture) -> None:
    begun = 0

    async def work() -> None:
        nonlocal begun
        begun += 1
        if begun < 3:
            raise LookupError("planted")
        await asyncio.Event().wait()

    async def is_over() -> bool:
        return "work.recovered" in caplog.text

    task = asyncio.ensure_future(keep_running(work, faults, restarts=AT_ONCE))
    await await_until(is_over, why="it says so")
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task


async def test_the_pause_grows_up_to_a_bound(faults: RepeatedFault, monkeypatch: pytest.MonkeyPatch) -> None:
    work, _ = failing(*[LookupError("planted")] * 5)
    pauses: list[float] = []
    sleep = asyncio.sleep

    async def counted(seconds: float) -> None:
        if seconds:
            pauses.append(seconds)
        await sleep(0)

    monkeypatch.setattr("jobfleet.services.long_lived.asyncio.sleep", counted)

    await keep_running(work, faults, restarts=Restarts(first=0.1, longest=0.4))

    assert pauses == [0.1, 0.2, 0.4, 0.4, 0.4]


@pytest.mark.parametrize("is_pausing", [False, True])
async def test_it_ends_when_it_is_cancelled(faults: RepeatedFault, is_pausing: bool) -> None:
    begun = asyncio.Event()

    async def work() -> None:
        begun.set()
        if is_pausing:
            raise LookupError("planted")
        await asyncio.Event().wait()

    task = asyncio.ensure_future(keep_running(work, faults, restarts=Restarts(first=60.0)))
    await begun.wait()
    await asyncio.sleep(0)
    task.cancel()

    with pytest.raises(asyncio.CancelledError):
        await task


def test_one_that_fails_does_not_keep_the_others_waiting() -> None:
    seen: list[int] = []

    def act(number: int) -> None:
        seen.append(number)
        if number < 3:
            raise LookupError(number)

    with pytest.raises(LookupError, match="1"):
        for_each([1, 2, 3], act)

    assert seen == [1, 2, 3]
