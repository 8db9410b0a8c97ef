"""The command line against a real server."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner, Result

from jobfleet import Fleet
from jobfleet.cli.main import main
from tests.cli.hand import ROOT, AsRole, Cli, Hand, Shell
from tests.support import topologies
from tests.support.server import RedisServer
from tests.support.users import UrlOf


@pytest.fixture
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty folder to work in, and no setting from outside."""
    for name in [name for name in os.environ if name.startswith("JOBFLEET_")]:
        if not name.startswith("JOBFLEET_TEST_") and name != topologies.SERVER:
            monkeypatch.delenv(name)
    monkeypatch.chdir(tmp_path)
    return tmp_path


@pytest.fixture
def cli(here: Path, redis_url: str, monkeypatch: pytest.MonkeyPatch) -> Cli:
    """Run a command in this process, on the emptied server."""
    monkeypatch.setenv("JOBFLEET_URL", redis_url)

    def run(*args: str, input: str | None = None) -> Result:
        result = CliRunner().invoke(main, args, input=input, prog_name="jobfleet")
        assert result.exception is None or isinstance(result.exception, SystemExit), result.exception
        return result

    return run


@pytest.fixture
def as_role(url_of: UrlOf) -> Iterator[AsRole]:
    """Connect to the emptied server as the user of a role."""
    with ExitStack() as stack:
        yield lambda role: stack.enter_context(Fleet(url_of(role)))


@pytest.fixture
def hand(fleet: Fleet, as_role: AsRole) -> Hand:
    """Plays the worker."""
    hand = Hand(fleet, as_role("worker"))
    hand.knows("demo.add", "demo.fail")
    return hand


@pytest.fixture
def shell(here: Path) -> Shell:
    """Run `python -m jobfleet` as a process."""

    def run(*args: str, **extra: Any) -> subprocess.CompletedProcess[str]:
        environ = {**os.environ, "PYTHONPATH": str(ROOT), **extra.pop("environ", {})}
        command = [sys.executable, "-m", "jobfleet", *args]
        return subprocess.run(command, text=True, capture_output=True, env=environ, check=False, timeout=60, **extra)

    return run


@pytest.fixture
def own_server() -> Iterator[RedisServer]:
    """A server that a test may end."""
    with RedisServer() as server:
        yield server
