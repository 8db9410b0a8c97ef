"""The install of README, from a clone and from a wheel, into an environment of its own; then README's program."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

from tests.support.pages import ROOT, blocks_of
from tests.support.reader import Reader

README = ROOT / "README.md"
pytestmark = [pytest.mark.slow, pytest.mark.timeout(600)]


@pytest.mark.parametrize("source", ["clone", "wheel"])
def test_the_install_of_readme_is_enough_for_its_program(source: str, tmp_path: Path) -> None:
    (install,) = (block.body for block in blocks_of(README) if block.body.startswith("pip install"))
    (wheel,) = (block.body for block in blocks_of(README) if block.body.startswith("pip wheel"))
    subprocess.run(["git", "clone", "--quiet", str(ROOT), str(tmp_path / "clone")], check=True)
    subprocess.run([sys.executable, "-m", "venv", str(tmp_path / "venv")], check=True)
    programs = tmp_path / "venv" / "bin"
    environment = {**os.environ, "PATH": f"{programs}:/usr/bin:/bin"}

    for line in (install if source == "clone" else wheel).splitlines():
        subprocess.run(["sh", "-c", line], cwd=tmp_path / "clone", env=environment, check=True)

    where = [str(programs / "python"), "-c", "import jobfleet; print(jobfleet.__file__)"]
    found = subprocess.run(where, cwd=tmp_path, env=environment, check=True, capture_output=True, text=True).stdout
    assert re.match(f"{tmp_path}/venv/.*/site-packages/jobfleet/", found)
    with Reader(tmp_path, blocks_of(README), programs=programs) as reader:
        reader.follow()
