"""The whole installation at once, in its short version: `scripts/verify-ops` is the long one."""

from __future__ import annotations

import sys

import pytest

from tests.support.scripts import run_script
from tests.support.tools import tool


@pytest.mark.slow
@tool("prometheus", "postgresql")
@pytest.mark.timeout(1100)  # beyond what a busy machine makes of the deadline of the script
def test_all_that_watches_a_fleet_agrees_though_parts_of_it_are_stopped_and_killed() -> None:
    ran = run_script(sys.executable, "scripts/verify-ops", "--jobs", "120", timeout=250)

    assert ran.returncode == 0, ran.stdout + ran.stderr
    assert ran.stdout.splitlines()[-1] == "120 jobs: all agree"
