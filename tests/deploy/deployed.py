"""What the tests of deploy/ share: its folder, and the programs of others that check it."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

import jsonschema

from jobfleet.clock import read_duration
from jobfleet.config import JobConfig
from tests.support.fleet import ROOT
from tests.support.tools import NotInstalled

DEPLOY = ROOT / "deploy"
TOOLS = ROOT / ".venv" / "tools"
PLUGIN = "usr/libexec/docker/cli-plugins/docker-compose"
SCHEMA_FILES = Path(__file__).parent / "schemas"
SCHEMAS = {
    "keda.sh/v1alpha1": json.loads((SCHEMA_FILES / "keda.json").read_text()),
    "monitoring.coreos.com/v1": json.loads((SCHEMA_FILES / "prometheus-operator.json").read_text()),
}
KUBERNETES = "1.33"
Objects = list[dict[str, Any]]
MIB = 1024**2
IDLE_MIB = 45
"""What a process of a worker takes before it runs a job, with some jobs loaded."""
AFTER_GRACE = 5.0
"""Seconds after its grace in which a worker ends what does not react."""


def program(name: str, place: str = "") -> str:
    """A program that scripts/tools brings.

    Raises:
        NotInstalled: It is not there.
    """
    own = TOOLS / (place or f"bin/{name}")
    found = str(own) if own.exists() else shutil.which(name)
    if found is None:
        raise NotInstalled(f"no {name}: scripts/tools could not bring it")
    return found


def silent(*command: str | Path, cwd: Path = ROOT) -> str:
    """The output of a command that must succeed and complain of nothing: some exit with 0 on a fault."""
    done = subprocess.run(command, cwd=cwd, capture_output=True, text=True, check=False)
    assert (done.returncode, done.stderr) == (0, ""), done.stdout + done.stderr
    return done.stdout


def check(objects: Objects) -> None:
    """Check objects against the schemas of Kubernetes, and those of other makers against their own."""
    sys.path.append(str(TOOLS / "python"))
    try:
        import kubernetes_validate  # type: ignore[import-not-found]  # scripts/tools brings it
    finally:
        sys.path.pop()
    for one in objects:
        schema = SCHEMAS.get(one["apiVersion"])
        if schema is None:
            kubernetes_validate.validate(one, KUBERNETES, strict=True)
        else:
            jsonschema.validate(one, schema)


def check_settings(names: Iterable[str]) -> None:
    """Check that each variable with the prefix of settings is one."""
    known = {f"JOBFLEET_{name.upper()}" for name in JobConfig.__annotations__} | {
        f"JOBFLEET_{field.upper()}" for base in JobConfig.__mro__ for field in getattr(base, "__annotations__", {})
    }
    assert {name for name in names if name.startswith("JOBFLEET_")} <= known


def has_time_to_drain(grace: object, given: float) -> bool:
    """Whether a process manager waits longer than a worker takes."""
    return given > read_duration(grace) + AFTER_GRACE


def users() -> set[str]:
    """The Redis users of deploy/redis/users.acl."""
    return {line.split()[1] for line in (DEPLOY / "redis" / "users.acl").read_text().splitlines()}


def variables(rows: Iterable[Mapping[str, str]]) -> dict[str, str]:
    """The variables of a container of Kubernetes; those without a value are empty."""
    return {row["name"]: row.get("value", "") for row in rows}
