"""Runs many faults, each in a process of its own, two at once; collects the verdicts."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from tests.support.chaos.figures import Verdict
from tests.support.chaos.trail import Breach
from tests.support.fleet import ROOT

VERDICT = "verdict.json"
LIMIT = 400.0


def save(verdict: Verdict, folder: Path) -> None:
    """Write a verdict."""
    (folder / VERDICT).write_text(json.dumps(verdict._asdict(), indent=1))


def load(path: Path) -> Verdict:
    """Read a verdict."""
    fields = json.loads(path.read_text())
    return Verdict(**{**fields, "breaches": [Breach(*one) for one in fields["breaches"]]})


def run_all(
    runs: Mapping[str, Sequence[str]],
    *,
    seed: int,
    jobs: int,
    folder: Path,
    at_once: int = 2,
    done: Callable[[Verdict], None] = lambda verdict: None,
) -> list[Verdict]:
    """Run faults or mutants; the histories of those that violate nothing are removed.

    Args:
        runs: The arguments of each run by its name.
        seed: Of every choice, unless the arguments name another.
        jobs: Jobs per fault.
        folder: Where the histories go, one folder per run.
        at_once: How many run at the same time.
        done: Called with each verdict as soon as it is there.
    """

    def one(name: str) -> Verdict:
        place = folder / name
        shutil.rmtree(place, ignore_errors=True)
        place.mkdir(parents=True)
        command = [sys.executable, str(ROOT / "scripts" / "chaos"), "--seed", str(seed), "--jobs", str(jobs)]
        command += ["--keep", str(place), *runs[name]]
        said = subprocess.run(command, capture_output=True, text=True, timeout=LIMIT, check=False)
        path = place / VERDICT
        verdict = load(path) if path.exists() else failed(name, seed, said.stdout + said.stderr)
        if not verdict.breaches:
            shutil.rmtree(place)
        done(verdict)
        return verdict

    with ThreadPoolExecutor(at_once) as pool:
        return list(pool.map(one, runs))


def failed(name: str, seed: int, why: str) -> Verdict:
    """The verdict of a run that did not come to its end."""
    last = why.strip().splitlines()[-1:] or ["it said nothing"]
    return Verdict(name, seed, 0, 0, 0, 0, 0, 0, 0, None, None, 0.0, [Breach(0, f"the run ended: {last[0]}")])
