"""`pyright --verifytypes` knows the type of every public name, but for the exceptions that are listed."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import sysconfig
from pathlib import Path
from typing import Any

import pytest

import jobfleet

PROGRAMS = ("jobfleet.cli.", "jobfleet.demo.", "jobfleet.panels.demo.", "jobfleet.services.", "jobfleet.worker.")
"""Programs and what they consist of: users start them, and import nothing from them but what `Fleet` uses."""

OF_DJANGO = "Django has no types, so the base class is not known"
EXCEPTIONS = {
    "jobfleet.contrib.django.JobfleetBackend": OF_DJANGO,
    "jobfleet.contrib.django.admin.DashboardAdmin": OF_DJANGO,
    "jobfleet.contrib.django.apps.JobfleetConfig": OF_DJANGO,
    "jobfleet.contrib.django.backend.JobfleetBackend": OF_DJANGO,
    "jobfleet.contrib.django.management.commands.jobfleet.Command": OF_DJANGO,
    "jobfleet.contrib.django.models.Dashboard": OF_DJANGO,
    **dict.fromkeys(
        (
            "jobfleet.web.server.Connections",
            "jobfleet.web.server.Connections.add",
            "jobfleet.web.server.Connections.remove",
            "jobfleet.web.server.Protocol",
            "jobfleet.web.server.Protocol.app",
            "jobfleet.web.server.server_of",
        ),
        "the protocol of uvicorn's server has no types",
    ),
    "jobfleet.notify.add_notification_channel": "an alias of a method; a declared type would hide its arguments",
    "jobfleet.notify.registry.add_notification_channel": "likewise",
}


@pytest.mark.timeout(300)
def test_every_public_name_has_a_known_type(tmp_path: Path) -> None:
    package = Path(jobfleet.__file__).parent
    (tmp_path / "jobfleet").symlink_to(package)  # pyright does not see an editable installation
    paths = (str(tmp_path), sysconfig.get_path("purelib"))
    command = [sys.executable, "-m", "pyright", "--pythonpath", sys.executable, "--outputjson", "--ignoreexternal"]

    done = subprocess.run(
        [*command, "--verifytypes", "jobfleet"],
        cwd=tmp_path,
        env={**os.environ, "PYTHONPATH": os.pathsep.join(paths), "PYRIGHT_PYTHON_IGNORE_WARNINGS": "1"},
        capture_output=True,
        text=True,
        check=False,
    )

    assert done.stdout, done.stderr
    symbols: list[dict[str, Any]] = json.loads(done.stdout)["typeCompleteness"]["symbols"]
    public = [symbol for symbol in symbols if not symbol["name"].startswith(PROGRAMS)]
    incomplete = {one["name"] for one in public if not one["isTypeKnown"] or one["isTypeAmbiguous"]}
    assert len(public) > 4000, "pyright has looked at the package"
    assert incomplete == EXCEPTIONS.keys()


def test_pyright_knows_the_types_of_typed_arguments() -> None:
    program = Path(__file__).with_name("typed_values.py")

    done = subprocess.run(
        [sys.executable, "-m", "pyright", "--pythonpath", sys.executable, "--outputjson", str(program)],
        cwd=program.parents[2],  # whose package it reads
        env={**os.environ, "PYRIGHT_PYTHON_IGNORE_WARNINGS": "1"},
        capture_output=True,
        text=True,
        check=False,
    )

    found = json.loads(done.stdout)
    assert found["summary"]["filesAnalyzed"] >= 1
    assert [(one["range"]["start"]["line"] + 1, one["message"]) for one in found["generalDiagnostics"]] == []
