"""Fixtures for tests with real processes."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from jobfleet import Fleet
from tests.support.fleet import Program, Programs
from tests.support.runs import Run, runner
from tests.support.server import RedisServer
from tests.support.trial import Trial

HERE = Path(__file__).parent


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Let these tests enqueue what no worker has published yet."""
    for item in items:
        if item.path.is_relative_to(HERE):
            item.add_marker(pytest.mark.filterwarnings("ignore:No worker has published:UserWarning"))


@pytest.fixture
def run(worker: Program, fleet: Fleet) -> Run:
    """Runs a function on the worker of a module, to its end."""
    return runner(fleet)


@pytest.fixture
def own_server() -> Iterator[RedisServer]:
    """A server for one test, which may stop it; it writes all it is told to disk."""
    with RedisServer("--appendonly", "yes", "--appendfsync", "always") as server:
        yield server


@pytest.fixture
def own_programs(own_server: RedisServer, tmp_path: Path) -> Iterator[Programs]:
    """Starts workers on the test's own server."""
    programs = Programs(own_server.url, tmp_path, is_fresh=False)
    try:
        yield programs
    finally:
        programs.close()
        sys.stdout.write(programs.logs())


@pytest.fixture
def own_fleet(own_server: RedisServer) -> Iterator[Fleet]:
    """A producer on the test's own server."""
    with Fleet(own_server.url, patience=60) as fleet:
        yield fleet


@pytest.fixture(scope="module")
def trials() -> Iterator[list[Trial]]:
    """The worker that all tests of a module share which leave it as they found it."""
    trials: list[Trial] = []
    try:
        yield trials
    finally:
        for trial in trials:
            trial.close()


@pytest.fixture
def trial(trials: list[Trial], open_trial: Callable[[], Trial]) -> Iterator[Trial]:
    """That worker, or another after a test that has failed; what it has said is shown then.

    A module that uses it says with a fixture `open_trial` what such a worker loads.
    """
    if trials and not trials[0].is_calm:
        trials.pop().close()
    if not trials:
        trials.append(open_trial())
    yield trials[0]
    if not trials[0].is_calm:
        sys.stdout.write(trials[0].worker.said[-20_000:])
