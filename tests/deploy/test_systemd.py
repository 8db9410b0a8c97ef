"""The units: systemd's own checks, which exit with 0 on some faults, and the numbers that must fit each other."""

from __future__ import annotations

import os
import re
import subprocess
from pathlib import Path

import pytest

from jobfleet.cli.commands.init import contents
from tests.deploy.deployed import DEPLOY, TOOLS, check_settings, has_time_to_drain, program, users
from tests.support.fleet import ROOT
from tests.support.tools import tool

FOLDER = DEPLOY / "systemd"
UNITS = sorted(path.name for path in FOLDER.glob("*.service"))
MOST_EXPOSED = 20
"""Tenths of systemd's score of exposure, of 100."""


def analyze(*arguments: str | Path) -> subprocess.CompletedProcess[str]:
    command = [program("systemd-analyze", "usr/bin/systemd-analyze"), *arguments]
    own = {"LD_LIBRARY_PATH": ":".join(map(str, TOOLS.glob("usr/lib/*-linux-gnu*/systemd")))}
    environment = {**os.environ, **(own if (TOOLS / "usr/bin/systemd-analyze").exists() else {})}
    return subprocess.run(command, env=environment, capture_output=True, text=True, check=False)


def placed(folder: Path, name: str, text: str) -> Path:
    """A unit whose program is that of this repository."""
    unit = folder / name
    unit.write_text(text.replace("/opt/app/venv/bin/jobfleet", str(ROOT / ".venv" / "bin" / "jobfleet")))
    return unit


@tool("systemd")
def test_systemd_has_nothing_to_say(tmp_path: Path) -> None:
    assert UNITS == ["jobfleet-reaper.service", "jobfleet-web.service", "jobfleet-worker@.service"]

    done = analyze("verify", "--man=no", *(placed(tmp_path, name, (FOLDER / name).read_text()) for name in UNITS))

    assert (done.returncode, done.stderr, done.stdout) == (0, "", "")


@tool("systemd")
def test_a_key_that_systemd_does_not_know_is_noticed(tmp_path: Path) -> None:
    text = (FOLDER / UNITS[0]).read_text().replace("RestartSec=", "RestartSecs=")

    assert "RestartSecs" in analyze("verify", "--man=no", placed(tmp_path, UNITS[0], text)).stderr


@tool("systemd")
@pytest.mark.parametrize("name", UNITS)
def test_each_unit_is_hardened(name: str) -> None:
    done = analyze("security", "--offline=true", f"--threshold={MOST_EXPOSED}", "--no-pager", FOLDER / name)

    assert done.returncode == 0, done.stdout
    assert "Overall exposure level" in done.stdout + done.stderr


@tool("systemd")
@pytest.mark.parametrize("kind", ["worker", "reaper"])
def test_the_units_of_a_new_project_are_hardened(tmp_path: Path, kind: str) -> None:
    unit = tmp_path / f"shop-{kind}.service"
    unit.write_text(contents("shop")[f"systemd/{unit.name}"])

    done = analyze("security", "--offline=true", f"--threshold={MOST_EXPOSED}", "--no-pager", unit)
    unit.write_text(unit.read_text().replace("/opt/shop/.venv/bin/jobfleet", str(ROOT / ".venv" / "bin" / "jobfleet")))
    verified = analyze("verify", "--man=no", unit)

    assert done.returncode == 0, done.stdout
    assert (verified.returncode, verified.stderr, verified.stdout) == (0, "", "")


def test_each_unit_has_its_own_redis_user() -> None:
    files = {name: re.findall(r"^EnvironmentFile=/etc/jobfleet/(.+)$", (FOLDER / name).read_text(), re.MULTILINE)
             for name in UNITS}  # fmt: skip
    shared = {one for named in files.values() for one in named[:1]}
    found = {
        own: re.findall(r"^(\w+)=redis://(\w+):", (FOLDER / own).read_text(), re.MULTILINE) for _, own in files.values()
    }

    assert shared == {"jobfleet.env"}
    assert "JOBFLEET_URL" not in (FOLDER / "jobfleet.env").read_text()
    assert found == {
        "reaper.env": [("JOBFLEET_URL", "reaper")],
        "web.env": [("JOBFLEET_URL", "operator"), ("JOBFLEET_WEB_VIEWER_URL", "web")],
        "worker.env": [("JOBFLEET_URL", "worker")],
    }
    assert {user for rows in found.values() for _, user in rows} <= users()
    check_settings(name for rows in found.values() for name, _ in rows)


def test_the_signals_and_times_are_those_of_a_worker() -> None:
    text = (FOLDER / "jobfleet-worker@.service").read_text()
    environment = (FOLDER / "jobfleet.env").read_text()
    settings = dict(re.findall(r"^(\w+)=(.*)$", environment, re.MULTILINE))

    check_settings(settings)
    assert "KillMode=mixed" in text
    assert has_time_to_drain(settings["JOBFLEET_GRACE"], float(re.findall(r"TimeoutStopSec=(\d+)", text)[0]))
