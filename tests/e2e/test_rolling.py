"""Short runs of `scripts/rolling`, which tells what it does and checks."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from tests.support.fleet import ROOT


@pytest.mark.first(1)
@pytest.mark.timeout(400)
@pytest.mark.parametrize("number", ["TERM", "KILL"])
@pytest.mark.parametrize("seconds", [8, pytest.param(60, marks=pytest.mark.slow)])
def test_a_rolling_restart_under_load_loses_nothing(tmp_path: Path, number: str, seconds: int) -> None:
    command = [sys.executable, str(ROOT / "scripts" / "rolling"), "--seed", "1", "--seconds", str(seconds)]

    run = subprocess.run(
        [*command, "--signal", number, "--keep", str(tmp_path)],
        capture_output=True,
        text=True,
        timeout=390,
        check=False,
    )

    assert run.returncode == 0, run.stdout + run.stderr
    assert run.stdout.splitlines()[-1].startswith(f"ok: seed 1, {number}, ")
