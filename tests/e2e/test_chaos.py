"""Short runs of `scripts/chaos`, which tells what it does and checks."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from tests.support.fleet import ROOT


@pytest.mark.timeout(400)
@pytest.mark.parametrize(
    ("seed", "seconds"),
    [(1, 12), *(pytest.param(seed, 60, marks=pytest.mark.slow) for seed in (2, 3, 4))],
)
def test_nothing_is_lost_whatever_dies(tmp_path: Path, seed: int, seconds: int) -> None:
    command = [sys.executable, str(ROOT / "scripts" / "chaos"), "--seed", str(seed), "--seconds", str(seconds)]

    run = subprocess.run([*command, "--keep", str(tmp_path)], capture_output=True, text=True, timeout=390, check=False)

    assert run.returncode == 0, run.stdout + run.stderr
    assert run.stdout.splitlines()[-1].startswith(f"ok: seed {seed}, ")
