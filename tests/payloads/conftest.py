"""A fleet with a payload store in a folder, and a worker in the test's process."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from jobfleet import Fleet, JobResult
from jobfleet.functions.registry import Registry
from tests.support.fleet import LONG
from tests.support.waiting import wait_until
from tests.worker.conftest import Working, working

__all__ = ["LARGE", "THRESHOLD", "Working", "end_of", "objects", "working"]
THRESHOLD = 1024
LARGE = "x" * 5000


@pytest.fixture
def registry() -> Registry:
    """Functions of this test alone."""
    registry = Registry()
    registry.register(lambda text, times=1: text * times, name="test.repeat")
    return registry


@pytest.fixture
def root(tmp_path: Path) -> Path:
    """The folder of the store."""
    return tmp_path / "payloads"


@pytest.fixture
def settings(root: Path) -> dict[str, Any]:
    """The settings of the fleet."""
    return {"payload_store": f"file://{root}", "payload_threshold": THRESHOLD, "lease": 6, "retry_delay": 0.05}


@pytest.fixture
def fleet(redis_url: str, registry: Registry, settings: dict[str, Any]) -> Iterator[Fleet]:
    """A fleet whose large payloads go to the folder."""
    with Fleet(redis_url, registry=registry, patience=30, **settings) as fleet:
        yield fleet


def end_of(fleet: Fleet, job_id: str) -> JobResult[Any]:
    """Wait for the end of a job. Unlike `fleet.wait`, it does not warn while the worker starts."""
    wait_until(lambda: fleet.poll(job_id).status.is_final, timeout=LONG, why="it ends")
    return fleet.poll(job_id)


def objects(root: Path) -> list[str]:
    """The keys of all objects in the store, and the names of files that are being written."""
    return sorted(str(path.relative_to(root)) for path in root.rglob("*") if path.is_file() and path.parent != root)
