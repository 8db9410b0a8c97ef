"""Calls in threads, also when the program ends."""

from __future__ import annotations

import os
import subprocess
import sys
import threading
from collections.abc import Callable

import pytest

from jobfleet.event_loop import CALM, CalmThread, in_thread

PROGRAM = """
import asyncio, threading
from concurrent.futures import thread
from jobfleet.event_loop import in_thread

async def late():
    while not thread._shutdown:  # the main thread has ended, and Python starts no more calls in threads
        await asyncio.sleep(0.001)
    print(await in_thread(lambda word: word, "called"))
    try:
        await in_thread(int, "x")
    except ValueError as error:
        print(error)

threading.Thread(target=lambda: asyncio.run(late())).start()
"""


def test_a_call_is_made_though_the_program_ends() -> None:
    done = subprocess.run([sys.executable, "-c", PROGRAM], capture_output=True, text=True, timeout=60, check=False)

    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout == "called\ninvalid literal for int() with base 10: 'x'\n"


@pytest.mark.parametrize("error", [RuntimeError("its own"), ValueError("its own")])
async def test_an_error_of_the_call_is_raised_and_the_call_is_not_repeated(error: Exception) -> None:
    calls: list[int] = []

    def fail() -> None:
        calls.append(1)
        raise error

    work: Callable[[], None] = fail
    with pytest.raises(type(error), match="its own"):
        await in_thread(work)
    assert calls == [1]


@pytest.mark.skipif(sys.platform != "linux", reason="only Linux has a priority per thread")
async def test_a_calm_thread_has_a_low_priority_and_no_other_thread_has() -> None:
    def nice() -> tuple[int, int]:
        return threading.get_native_id(), os.getpriority(os.PRIO_PROCESS, threading.get_native_id())

    before = os.getpriority(os.PRIO_PROCESS, 0)
    calm = CalmThread("calm")
    try:
        first, second = await calm.call(nice), await calm.call(nice)
        with pytest.raises(ValueError, match="invalid literal"):
            await calm.call(int, "x")
    finally:
        calm.close()

    assert first == second
    assert first[1] == max(CALM, before)
    assert [nice()[1], (await in_thread(nice))[1]] == [before, before]


async def test_a_call_in_a_calm_thread_that_has_ended_is_made_here() -> None:
    calm = CalmThread("calm")
    calm.close()

    assert await calm.call(threading.get_ident) == threading.get_ident()
