"""Short runs of `scripts/soak`, which tells what it does and checks."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from tests.support.fleet import ROOT


@pytest.mark.timeout(1000)
@pytest.mark.parametrize("jobs", [4000, pytest.param(200_000, marks=pytest.mark.slow)])
def test_nothing_grows_however_many_jobs_there_are(tmp_path: Path, jobs: int) -> None:
    command = [sys.executable, str(ROOT / "scripts" / "soak"), "--seed", "1", "--jobs", str(jobs)]

    run = subprocess.run([*command, "--keep", str(tmp_path)], capture_output=True, text=True, timeout=990, check=False)

    assert run.returncode == 0, run.stdout + run.stderr
    assert run.stdout.splitlines()[-1].startswith("ok: seed 1, ")
