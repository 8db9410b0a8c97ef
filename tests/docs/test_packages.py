"""The packages: the wheel alone and with two extras, each in an environment of its own, and the demo from it."""

from __future__ import annotations

import runpy
import tarfile
import zipfile
from pathlib import Path

import pytest

from tests.support.pages import DOCS, ROOT
from tests.support.scripts import run_script

PACKAGES = runpy.run_path(str(ROOT / "scripts" / "packages"))


@pytest.mark.timeout(600)  # beyond what a busy machine makes of the deadline of the script
def test_the_wheel_works_alone_and_with_an_extra() -> None:
    done = run_script("scripts/packages", "--extras", "none,embedded,cli", "--demo", timeout=110)

    assert done.returncode == 0, done.stdout + done.stderr
    assert [line.split("|")[1].strip() for line in done.stdout.splitlines()[2:5]] == ["none", "embedded", "cli"]


@pytest.mark.slow
@pytest.mark.timeout(900)
def test_each_extra_works_alone() -> None:
    done = run_script("scripts/packages", timeout=800)

    assert done.returncode == 0, done.stdout + done.stderr


def test_a_package_without_a_file_is_noticed(tmp_path: Path) -> None:
    with zipfile.ZipFile(tmp_path / "a.whl", "w") as wheel:
        wheel.writestr("jobfleet/__init__.py", "")
        wheel.writestr("tests/test_a.py", "")
    with tarfile.open(tmp_path / "a.tar.gz", "w:gz"):
        pass

    wrong = PACKAGES["missing"](tmp_path / "a.whl", tmp_path / "a.tar.gz")

    assert "a.whl lacks jobfleet/py.typed" in wrong
    assert "a.whl has tests/test_a.py, which is not the package's" in wrong
    assert "a.tar.gz lacks LICENSE" in wrong
    assert "a.whl lacks jobfleet/__init__.py" not in wrong


def test_the_page_on_platforms_lists_each_extra() -> None:
    text = (DOCS / "reference" / "platforms.md").read_text()

    assert [name for name in PACKAGES["extras"]() if f"| {name} |" not in text] == []
