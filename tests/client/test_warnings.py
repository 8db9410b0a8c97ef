"""A warning points at the line of the program that caused it, not into the library."""

from __future__ import annotations

import inspect
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from jobfleet import AsyncFleet, Fleet, Job
from jobfleet.errors import LIBRARY
from jobfleet.functions.registry import Registry
from jobfleet.store.target import target


def lines_of(function: Callable[..., Any]) -> range:
    lines, first = inspect.getsourcelines(function)
    return range(first, first + len(lines))


def test_of_an_unknown_function(redis_url: str) -> None:
    with Fleet(redis_url, registry=Registry()) as fleet:
        with pytest.warns(UserWarning, match="No worker has published") as one:
            fleet.enqueue(Job("n", "app.nobody"))
        with pytest.warns(UserWarning, match="No worker has published") as many:
            list(fleet.enqueue_many([Job("n", "app.nobody.else")]))

    told = (one[0], many[0])
    assert [one.filename for one in told] == [__file__] * 2
    assert {one.lineno for one in told} <= set(lines_of(test_of_an_unknown_function))


async def test_of_an_unknown_function_that_is_awaited(redis_url: str) -> None:
    async with AsyncFleet(redis_url, registry=Registry()) as fleet:
        with pytest.warns(UserWarning, match="No worker has published") as told:
            await fleet.enqueue(Job("n", "app.nobody"))

    assert told[0].filename == __file__
    assert told[0].lineno in lines_of(test_of_an_unknown_function_that_is_awaited)


async def test_of_a_call_that_blocks_the_loop(redis_url: str) -> None:
    registry = Registry()
    made = registry.register(lambda: None, name="app.free")
    with Fleet(redis_url, registry=registry) as fleet:
        made._fleet = fleet
        with pytest.warns(RuntimeWarning, match="blocks the event loop") as told:
            made.enqueue()

    assert told[0].filename == __file__


def test_of_receipts_that_nobody_reads(redis_url: str) -> None:
    with Fleet(redis_url) as fleet, pytest.warns(RuntimeWarning, match="was not iterated") as told:
        fleet.enqueue_many([])

    assert told[0].filename == __file__


def test_of_a_connection_that_is_not_checked() -> None:
    with pytest.warns(UserWarning, match="ssl_cert_reqs=none") as told:
        target("rediss://localhost:1?ssl_cert_reqs=none", warns=True)

    assert told[0].filename == __file__


PROGRAM = """\
from jobfleet import Fleet, Job

def produce(fleet):
    fleet.enqueue(Job("n", "app.nobody"))

with Fleet({url!r}) as fleet:
    produce(fleet)
"""


def test_a_program_prints_its_own_line(redis_url: str, tmp_path: Path) -> None:
    program = tmp_path / "producer.py"
    program.write_text(PROGRAM.format(url=redis_url), encoding="utf-8")

    done = subprocess.run([sys.executable, program], capture_output=True, text=True, check=True, cwd=tmp_path)

    assert done.stderr.startswith(f"{program}:4: UserWarning: No worker has published 'app.nobody'")
    assert 'fleet.enqueue(Job("n", "app.nobody"))' in done.stderr


def test_the_library_is_the_folder_of_the_package() -> None:
    assert Path(LIBRARY, "errors.py").exists()


def test_every_warning_is_issued_by_the_one_function() -> None:
    found = [path for path in Path(LIBRARY).rglob("*.py") if "warnings.warn(" in path.read_text(encoding="utf-8")]

    assert [path.name for path in found] == ["errors.py"]
