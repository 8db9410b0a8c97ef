"""A module that waits for a job while a worker loads it would wait for that worker: it is rejected at once."""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest

from jobfleet import AsyncFleet, ConfigError, Fleet, Job, JobStatus
from jobfleet.functions.default_fleet import loading
from tests.support.fleet import Programs

pytestmark = pytest.mark.fresh

MODULE = """
from jobfleet import job


@job
def add(x: int, y: int) -> int:
    return x + y


{waits}
"""
REMEDY = (
    "page.py, line 10, waits for a job while a worker loads 'page', and the worker runs no job before it has loaded "
    "its modules. Move the line into another file, or under if __name__ == '__main__'."
)


@pytest.mark.first(1)
@pytest.mark.parametrize("waits", ["print(add.enqueue(1, 2).result())", "add.enqueue(1, 2).wait()"])
@pytest.mark.parametrize("command", ["worker", "reaper"])
def test_a_module_that_waits_at_its_top_level_is_rejected_with_the_remedy(
    programs: Programs, tmp_path: Path, command: str, waits: str
) -> None:
    (tmp_path / "page.py").write_text(MODULE.format(waits=waits))

    program = programs.start(command, "page", app_dir=tmp_path)

    assert program.exit_code() == 2
    assert program.said.count(REMEDY) == 1
    assert "Traceback" not in program.said


def test_the_same_module_runs_as_a_program_and_serves_when_the_call_is_guarded(
    programs: Programs, fleet: Fleet, tmp_path: Path
) -> None:
    guarded = "if __name__ == '__main__':\n    print(add.enqueue(1, 2).result())"
    (tmp_path / "page.py").write_text(MODULE.format(waits=guarded))
    programs.ready("page", app_dir=tmp_path)

    assert fleet.wait(fleet.enqueue(Job("sum", "page.add", (1, 2))), timeout=60).status is JobStatus.COMPLETED


def test_an_asynchronous_wait_is_rejected_too(redis_url: str) -> None:
    async def wait() -> None:
        async with AsyncFleet(redis_url) as fleet:
            await fleet.wait("default.0.a")

    with loading("page"), pytest.raises(ConfigError, match="waits for a job while a worker loads 'page'"):
        asyncio.run(wait())
