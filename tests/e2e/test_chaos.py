"""Runs of `scripts/chaos`: a few faults each time, longer mixtures on request."""

from __future__ import annotations

import json
import sys
from pathlib import Path

import pytest

from tests.support.chaos.campaign import VERDICT
from tests.support.chaos.catalogue import QUICK
from tests.support.chaos.history import read_history
from tests.support.fleet import ROOT
from tests.support.scripts import run_script

SCRIPT = str(ROOT / "scripts" / "chaos")


@pytest.mark.timeout(1700)  # beyond what a busy machine makes of the deadline of the script
@pytest.mark.parametrize("fault", QUICK)
def test_a_fault_violates_no_invariant(tmp_path: Path, fault: str) -> None:
    command = [sys.executable, SCRIPT, "--fault", fault, "--seed", "1", "--jobs", "120", "--keep", str(tmp_path)]

    run = run_script(*command, timeout=390)

    assert run.returncode == 0, run.stdout + run.stderr
    verdict = json.loads((tmp_path / VERDICT).read_text())
    assert (verdict["lost"], verdict["duplicates"], verdict["breaches"]) == (0, 0, [])
    assert verdict["acknowledged"] > 0
    resumed = [one.kind for one in read_history(tmp_path) if (one.process, one.op) == ("stage", "resume")]
    assert resumed == ["invoke", "ok"], "it resumes a queue that a killed producer has left paused"
    assert run_script(sys.executable, SCRIPT, "--check", str(tmp_path), timeout=60).returncode == 0


@pytest.mark.first(3)
@pytest.mark.timeout(1700)  # beyond what a busy machine makes of the deadline of the script
@pytest.mark.parametrize("seed", range(1, 11))
def test_a_storm_over_all_features_violates_no_invariant(seed: int) -> None:
    options = ["--fault", "memory-full" if seed > 8 else "mixed", "--features", "--seed", str(seed), "--jobs", "100"]

    run = run_script(sys.executable, SCRIPT, *options, timeout=390)

    assert run.returncode == 0, run.stdout + run.stderr


@pytest.mark.slow
@pytest.mark.timeout(1700)  # beyond what a busy machine makes of the deadline of the script
@pytest.mark.parametrize("seed", [2, 3, 4])
def test_nothing_is_lost_whatever_happens(seed: int) -> None:
    command = [sys.executable, SCRIPT, "--fault", "mixed", "--seed", str(seed), "--seconds", "60", "--jobs", "1500"]

    run = run_script(*command, timeout=390)

    assert run.returncode == 0, run.stdout + run.stderr
