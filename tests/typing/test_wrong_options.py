"""mypy and pyright report each wrong option and argument of a program, and nothing else."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import sysconfig
from pathlib import Path

import pytest
from mypy import api

ROOT = Path(__file__).parents[2]
PROGRAM = ROOT / "tests" / "typing" / "wrong.py"
WRONG = [number for number, line in enumerate(PROGRAM.read_text().splitlines(), 1) if "# wrong: " in line]


@pytest.fixture
def program(tmp_path: Path) -> Path:
    """The program without the line that exempts it from the gate."""
    copy = tmp_path / "wrong.py"
    copy.write_text(PROGRAM.read_text().replace("# mypy: ignore-errors\n", "#\n", 1), encoding="utf-8")
    (tmp_path / "jobfleet").symlink_to(ROOT / "jobfleet")  # pyright does not see an editable installation
    return copy


def test_the_program_has_at_least_twenty_wrong_lines() -> None:
    assert len(WRONG) >= 20


def test_mypy_reports_each_wrong_line(program: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MYPYPATH", str(ROOT))
    cache = ROOT / ".mypy_cache" / "typing"
    flags = ["--strict", "--no-error-summary", "--config-file", "", "--follow-imports", "silent"]

    said, errors, _ = api.run([*flags, "--cache-dir", str(cache), str(program)])

    lines = [line for line in said.splitlines() if ": error: " in line]
    assert errors == ""
    assert sorted({int(line.split(":")[1]) for line in lines}) == WRONG, said


@pytest.mark.timeout(300)
def test_pyright_reports_each_wrong_line(program: Path) -> None:
    command = [sys.executable, "-m", "pyright", "--pythonpath", sys.executable, "--outputjson", program.name]
    paths = (str(program.parent), sysconfig.get_path("purelib"))

    done = subprocess.run(
        command,
        cwd=program.parent,
        env={**os.environ, "PYTHONPATH": os.pathsep.join(paths), "PYRIGHT_PYTHON_IGNORE_WARNINGS": "1"},
        capture_output=True,
        text=True,
        check=False,
    )

    assert done.stdout, done.stderr
    found = [one for one in json.loads(done.stdout)["generalDiagnostics"] if one["severity"] == "error"]
    assert sorted({one["range"]["start"]["line"] + 1 for one in found}) == WRONG, found
