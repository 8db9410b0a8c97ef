"""Modules are imported by plain imports, which the contracts see; only the two lazy roots import by name."""

from __future__ import annotations

import ast
import subprocess
import sys
from pathlib import Path

import jobfleet
from jobfleet.functions.callables import BUILT_IN
from jobfleet.services import cleanup
from jobfleet.worker.run.handlers import undoing

PACKAGE = Path(jobfleet.__file__).parent
ROOTS = {"__init__.py", "cli/main.py"}
OF_USERS = {"services/modules.py", "worker/executors/isolated/loading.py"}
"""They import the modules of users."""


def by_name(path: Path) -> bool:
    """Whether a module imports by name."""
    tree = ast.parse(path.read_text(encoding="utf-8"))
    return any(
        (isinstance(node, ast.Attribute) and node.attr in {"import_module", "__import__"})
        or (isinstance(node, ast.Name) and node.id in {"import_module", "__import__"})
        for node in ast.walk(tree)
    )


def test_only_the_roots_and_loaders_of_user_modules_import_by_name() -> None:
    found = {path.relative_to(PACKAGE).as_posix() for path in PACKAGE.rglob("*.py") if by_name(path)}

    assert found == ROOTS | OF_USERS


def run(code: str) -> str:
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    return done.stdout.strip()


def test_the_decorator_finds_the_default_fleet_and_loads_no_client_before() -> None:
    code = """
import sys
from jobfleet import job
from jobfleet.functions.default_fleet import default_fleet
before = {"jobfleet.fleet.sync", "redis"} & sys.modules.keys()
print(before, default_fleet())
"""
    assert run(code).startswith("set() <Fleet redis://")


def test_a_client_does_not_load_what_only_workers_and_rare_calls_need() -> None:
    code = """
import sys
import jobfleet
jobfleet.Fleet, jobfleet.job
rare = ("jobfleet.outcome", "jobfleet.retry.decision", "jobfleet.retry.decision", "jobfleet.worker",
        "jobfleet.operations.queues", "jobfleet.operations.workers", "jobfleet.operations.doctor",
        "jobfleet.operations.verb")
print([name for name in sys.modules if name.startswith(rare)])
"""
    assert run(code) == "[]"


def test_the_command_line_loads_no_job_for_its_version() -> None:
    code = """
import sys
from jobfleet.cli.main import main
try:
    main(["version"])
except SystemExit:
    pass
print([name for name in sys.modules if name.startswith("jobfleet.model")])
"""
    assert run(code).splitlines()[-1] == "[]"


def test_a_function_without_a_default_fleet_says_what_to_do() -> None:
    code = """
from jobfleet.errors import ConfigError
from jobfleet.functions.registry import Registry
try:
    Registry().register(print, name="app.print").enqueue()
except ConfigError as error:
    print(error)
"""
    assert run(code) == "There is no default fleet: call jobfleet.configure(url), or use fleet.job(...)."


def test_a_built_in_job_is_known_by_name_with_its_parameters() -> None:
    functions = [cleanup.built_in(), undoing(lambda _name: None)]

    assert {one.name: tuple(parameter.name for parameter in one.parameters or ()) for one in functions} == BUILT_IN
