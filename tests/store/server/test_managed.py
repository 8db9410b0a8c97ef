"""Managed servers forbid commands that look into the server or change it: a fleet works without them."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from jobfleet import AsyncFleet, Fleet, Job, JobStatus
from tests.support.fleet import LONG, Programs
from tests.support.server import RedisServer

FORBIDDEN = ("-@admin", "-@dangerous", "-info", "-role", "-config", "-client|list", "-script|flush", "-keys")


@pytest.fixture
def url() -> Iterator[str]:
    """A server of one's own with a user who may do little; what was denied beyond INFO fails the test."""
    with RedisServer(tcp=True) as server:
        root: Any = server.client()  # redis-py does not type execute_command
        root.execute_command("ACL", "SETUSER", "app", "on", ">pw", "~*", "&*", "+@all", *FORBIDDEN)
        yield f"redis://app:pw@127.0.0.1:{server.port}/0"
        denied: list[Any] = root.execute_command("ACL", "LOG")
        assert {entry[b"object"] if isinstance(entry, dict) else entry[7] for entry in denied} <= {b"info"}


def test_a_worker_and_a_reaper_run_jobs(url: str, tmp_path: Path) -> None:
    programs = Programs(url, tmp_path)
    try:
        worker = programs.worker(with_reaper="true")
        worker.await_line("worker.started")
        with Fleet(url) as fleet:
            ended = fleet.wait(fleet.enqueue(Job("nap", "hist.nap", (0.0,))), timeout=LONG)

            assert ended.status is JobStatus.COMPLETED
            assert "Traceback" not in worker.said
    finally:
        programs.close()


def test_the_doctor_says_what_it_could_not_see(url: str) -> None:
    with Fleet(url) as fleet:
        seen = {one.check: (str(one.level), one.seen) for one in fleet.doctor().findings}

    hidden = ("note", "The server does not report it.")
    assert {name for name, finding in seen.items() if finding == hidden} == {
        "version",
        "eviction",
        "persistence",
        "replicas",
        "memory",
    }


async def test_an_awaited_client_reads_the_fleet(url: str) -> None:
    async with AsyncFleet(url) as fleet:
        assert (await fleet.statistics())["total"] == 0
