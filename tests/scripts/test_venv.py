"""`scripts/venv`: each target installs what it needs, once, in any order of the targets."""

from __future__ import annotations

import shutil
import subprocess
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
PYTHON = """#!/bin/sh
case "$*" in
    "-m venv .venv") mkdir -p .venv/bin && cp "$0" .venv/bin/python ;;
    "scripts/install.py "*) echo "$2" >>installed; [ ! -e offline ] ;;
esac
"""
"""A Python that makes an environment with a copy of itself, and takes notes of what is installed."""


class Clone:
    """A clone with a Python that takes notes."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        (folder / "scripts").mkdir()
        (folder / "jobfleet").mkdir()
        shutil.copy(ROOT / "scripts" / "venv", folder / "scripts" / "venv")
        (folder / "pyproject.toml").write_text("[project]\n")
        (folder / "jobfleet" / "version.py").write_text("__version__ = '1'\n")
        python = folder / "python3"
        python.write_text(PYTHON)
        python.chmod(0o755)

    def venv(self, level: str) -> int:
        """Run `scripts/venv LEVEL`."""
        command = [str(self.folder / "scripts" / "venv"), level]
        environment = {"PATH": "/usr/bin:/bin", "PYTHON": str(self.folder / "python3")}
        return subprocess.run(command, env=environment, capture_output=True, check=False).returncode

    def installed(self) -> list[str]:
        """What was installed since the last call."""
        notes = self.folder / "installed"
        lines = notes.read_text().split() if notes.exists() else []
        notes.unlink(missing_ok=True)
        return lines


@pytest.fixture
def clone(tmp_path: Path) -> Clone:
    return Clone(tmp_path)


DEMO, BENCH, ALL = "embedded,fast,cli", "embedded,fast,cli,sql,testing", "dev"


@pytest.mark.parametrize(
    ("levels", "installs"),
    [
        (["demo", "demo"], [DEMO]),
        (["demo", "bench", "demo", "bench"], [DEMO, BENCH]),
        (["bench", "demo"], [BENCH]),
        (["demo", "all", "demo", "bench", "all"], [DEMO, ALL]),
        (["all", "bench", "demo"], [ALL]),
        (["bench", "all"], [BENCH, ALL]),
    ],
)
def test_each_level_is_installed_once_and_a_later_one_contains_it(
    clone: Clone, levels: list[str], installs: list[str]
) -> None:
    assert [clone.venv(level) for level in levels] == [0] * len(levels)

    assert clone.installed() == installs


def test_a_change_of_the_project_is_installed(clone: Clone) -> None:
    clone.venv("all")
    (clone.folder / "pyproject.toml").write_text("[project]\nname = 'x'\n")

    clone.venv("demo")

    assert clone.installed() == [ALL, DEMO]


def test_an_installation_that_failed_is_tried_again(clone: Clone) -> None:
    (clone.folder / "offline").touch()
    assert clone.venv("demo") != 0
    (clone.folder / "offline").unlink()

    assert clone.venv("demo") == 0

    assert clone.installed() == [DEMO, DEMO]


def test_an_unknown_level_is_refused(clone: Clone) -> None:
    assert clone.venv("some") == 2
    assert clone.installed() == []


@pytest.mark.parametrize(("target", "level"), [("demo", "demo"), ("bench", "bench"), ("test", ""), ("check", "")])
def test_each_target_names_its_level(target: str, level: str) -> None:
    assert f"\nscripts/venv {level}".rstrip() + "\n" in (ROOT / "scripts" / target).read_text()
