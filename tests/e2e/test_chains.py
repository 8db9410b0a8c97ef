"""Short runs of `scripts/chains`, which tells what it does and checks."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from tests.support.fleet import ROOT


@pytest.mark.timeout(1000)
@pytest.mark.parametrize(
    ("chains", "jobs"), [(4, 250), pytest.param(50, 1000, marks=pytest.mark.slow)], ids=["short", "long"]
)
def test_no_link_of_a_chain_waits_for_somebody_else_to_wake_it(tmp_path: Path, chains: int, jobs: int) -> None:
    command = [sys.executable, str(ROOT / "scripts" / "chains"), "--seed", "1", "--chains", str(chains)]

    run = subprocess.run(
        [*command, "--jobs", str(jobs), "--keep", str(tmp_path)],
        capture_output=True,
        text=True,
        timeout=990,
        check=False,
    )

    assert run.returncode == 0, run.stdout + run.stderr
    assert run.stdout.splitlines()[-1].startswith(f"ok: seed 1, {chains} chains of {jobs} jobs in ")
