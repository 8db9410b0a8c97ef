"""The supervisor is small: it imports nothing of what runs jobs. Figures of revision 1d60b3c are the upper bound."""

from __future__ import annotations

import ast
import importlib
import subprocess
import sys
from pathlib import Path
from typing import NamedTuple

BEFORE = 157
"""Modules of this package that the supervisor of revision 1d60b3c imported."""
NODES_BEFORE = 129_622
"""Nodes of the syntax trees of these modules. Unlike their number, it stays the same when a module is split."""
SHARE = 1.06
"""The share of these nodes that is left; 0.93 until rooms became larger (docs/adr/0080), which cost 0.6 MiB of 40.5.
Since then 0.01 more for what the settings and calls of the store have gained."""
PRINT = """
import sys
from jobfleet.worker.ipc.usage import resident_bytes
print(resident_bytes(), *(name for name in sys.modules if name.partition(".")[0] == "jobfleet"))
"""


class Loaded(NamedTuple):
    resident: int
    modules: frozenset[str]


def loaded(*modules: str) -> Loaded:
    code = "".join(f"import {module}\n" for module in modules) + PRINT
    ended = subprocess.run([sys.executable, "-c", code], check=True, capture_output=True, text=True, timeout=60)
    resident, *names = ended.stdout.split()
    return Loaded(int(resident), frozenset(names))


def nodes_of(module: str) -> int:
    """The size of the code of a module in nodes of its syntax tree."""
    path = importlib.import_module(module).__file__
    assert path is not None
    return sum(1 for _ in ast.walk(ast.parse(Path(path).read_text())))


def test_a_supervisor_imports_less_than_it_did() -> None:
    modules = loaded("jobfleet.worker.supervisor.main").modules

    assert len(modules) < BEFORE
    assert sum(map(nodes_of, modules)) <= SHARE * NODES_BEFORE


def test_a_supervisor_imports_nothing_that_runs_jobs() -> None:
    packages = ("jobfleet.worker.child", "jobfleet.worker.run", "jobfleet.worker.executors", "jobfleet.client")
    functions = ("jobfleet.functions.registry", "jobfleet.functions.context", "jobfleet.functions.registry")
    modules = loaded("jobfleet.worker.supervisor.main").modules
    assert [name for name in sorted(modules) if name.startswith(packages) or name in functions] == []


def test_a_supervisor_takes_less_memory_than_one_that_imports_the_child() -> None:
    alone = loaded("jobfleet.worker.supervisor.main")
    both = loaded("jobfleet.worker.supervisor.main", "jobfleet.worker.child.main")
    assert len(both.modules) - len(alone.modules) >= 50
    assert alone.resident < both.resident
