"""Names from Redis: each row of docs/explanation/names.md is tried with hostile names, and reaches what it says."""

from __future__ import annotations

import ast
import re
import subprocess
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

from jobfleet import Fleet, Job, JobfleetError, undo
from jobfleet.codec import decode
from jobfleet.config import JobConfig
from jobfleet.events import read_control
from jobfleet.functions.callables import CLEANUP, UNDO
from jobfleet.functions.hooks import Hooks
from jobfleet.functions.registry import Registry
from jobfleet.model.audit import AUTHORITIES
from jobfleet.model.templates import fill
from jobfleet.payloads.store import Folder
from jobfleet.worker.run.handlers import Handlers, UnknownFunction
from tests.support.fleet import ROOT

PAGE = ROOT / "docs" / "explanation" / "names.md"
HOSTILE = (
    "subprocess.run", "os.system", "builtins.eval", "builtins.exec", "jobfleet.fleet.default.enqueue", "shop.run",
    "shop.Shop", "shop.Shop.method", "shop._private", "shop.instance.method", "shop.imported", "shop", "", "..",
    "__main__.x", "shop.run\n", "jobfleet.worker.run.handlers.Handlers", "jobfleet.model.spec.split_id",
    "jobfleet.maintenance.built_in",
)  # fmt: skip
LOADED = (
    "import subprocess\nfrom subprocess import run\nfrom os.path import join as imported\n"
    """
class Shop:
    def method(self): ...
instance = Shop()
def _private(): ...
def public(): ...
"""
)


@undo
def give_back() -> None:
    """Undo nothing."""


@dataclass
class Square:
    """A shape."""

    side: int


@dataclass
class Circle:
    """Another one."""

    radius: int


def area(shape: Square | Circle) -> int:
    """Take one of both."""
    return getattr(shape, "side", 0)


@pytest.fixture
def shop(monkeypatch: pytest.MonkeyPatch) -> ModuleType:
    """A module that a worker has loaded, with everything that must not be reached."""
    module = ModuleType("shop")
    exec(LOADED, vars(module))
    monkeypatch.setitem(sys.modules, "shop", module)
    return module


def handlers(shop: ModuleType, **settings: Any) -> Handlers:
    """The functions of a worker that has loaded the module, and jobfleet's own ones."""
    import jobfleet.maintenance

    registry = Registry()
    registry.register(give_back, name="shop.registered")
    return Handlers(registry, (shop, jobfleet.maintenance), JobConfig(**settings))


def found(find: Callable[[str], object], names: Iterator[str] | tuple[str, ...] = HOSTILE) -> dict[str, object]:
    """What hostile names become."""
    reached: dict[str, object] = {}
    for name in names:
        try:
            answer = find(name)
        except (UnknownFunction, JobfleetError, LookupError, ValueError):
            continue
        if answer is not None:
            reached[name] = answer
    return reached


def functions_of_jobs(shop: ModuleType) -> dict[str, object]:
    plain, undecorated = handlers(shop), handlers(shop, allow_undecorated=True)
    assert {plain.get(name).function.name for name in ("shop.registered", CLEANUP, UNDO)} == {
        "shop.registered",
        CLEANUP,
        UNDO,
    }
    assert undecorated.get("shop.public").call is shop.public
    return found(plain.get, (*HOSTILE, "shop.public")) | found(undecorated.get)


def undo_functions(shop: ModuleType) -> dict[str, object]:
    find = handlers(shop)._undo_function
    assert (find(f"{__name__}.give_back"), find("shop.registered")) == (give_back, give_back)
    return found(find, (*HOSTILE, "shop.public", CLEANUP, UNDO))


def maintenance(_shop: ModuleType) -> dict[str, object]:
    with Fleet("memory://", registry=Registry()) as fleet:
        return found(lambda name: fleet.enqueue(Job("x", name)), (CLEANUP, UNDO))


def classes_of_errors(_shop: ModuleType) -> dict[str, object]:
    pytest.importorskip("django")
    from jobfleet import JobResult, JobStatus
    from jobfleet.contrib.django.backend import _class_path

    def path(name: str) -> str | None:
        own = name.rpartition(".")[2]
        result = JobResult[Any](id="q.0.x", status=JobStatus.FAILED, error_class=own, traceback=f"{name}: no\n")
        return None if (found := _class_path(result)) == "jobfleet.errors.JobFailed" else found

    assert (path("builtins.ValueError"), path("subprocess.CalledProcessError")) == (
        "builtins.ValueError", "subprocess.CalledProcessError",
    )  # fmt: skip
    assert "antigravity" not in sys.modules
    return found(path, (*HOSTILE, "antigravity.X", "this.x", "subprocess.Popen"))


def tags_of_unions(_shop: ModuleType) -> dict[str, object]:
    typed = Registry().register(area, name="shop.area").typed
    assert typed is not None
    made, _ = typed.load(({"side": 2},), {}, 0)
    assert list(made) == [Square(2)]
    names = ("type", "__class__", "kind", "__reduce__")
    return found(lambda name: [typed.load(({name: one, "x": 1},), {}, 0)[0] for one in HOSTILE], names)


def zones(_shop: ModuleType) -> dict[str, object]:
    from jobfleet.cron import Cron

    return found(
        lambda name: Cron("* * * * *", tz=name), ("../../etc/passwd", "/etc/passwd", "subprocess.run", "Europe")
    )


def payloads(_shop: ModuleType) -> dict[str, object]:
    folder = Folder(Path("/nowhere/payloads"))
    return found(folder._path, ("../x", "/etc/passwd", "a/../../x"))


def templates(_shop: ModuleType) -> dict[str, object]:
    def filled(template: str) -> str:
        return fill(template, (ValueError("x"),), {}, option="unique")

    assert filled("{0.args}") == "('x',)"
    return found(filled, ("{0.__class__}", "{0.__init__.__globals__}", "{0.args.__class__}"))


def hooks(_shop: ModuleType) -> dict[str, object]:
    made = Hooks()
    made.before(functions=["shop.registered"])(lambda _: None)
    (hook,) = made.of_runs.before
    assert hook.is_for("shop.registered", "q")
    return found(lambda name: hook.is_for(name, "q") or None)


def commands(_shop: ModuleType) -> dict[str, object]:
    words = ("system", "__init__", "commanded.stop", "eval", "stop worker; scale", "_private")
    return found(lambda word: read_control(f"{word} worker nonce ann -"), words)


def signals(_shop: ModuleType) -> dict[str, object]:
    return found(lambda _: decode(b"\xc1"), HOSTILE)


def tried_as_functions(shop: ModuleType) -> dict[str, object]:
    return functions_of_jobs(shop)


def channels(_shop: ModuleType) -> dict[str, object]:
    from jobfleet.services.duties.notify import channels_of

    assert channels_of(JobConfig()).channels.keys() <= {"log"}
    return found(channels_of(JobConfig()).channels.__getitem__)


ATTEMPTS: dict[str, Callable[[ModuleType], dict[str, object]]] = {
    "function of a job": functions_of_jobs,
    "undo function": undo_functions,
    "maintenance": maintenance,
    "callback": tried_as_functions,
    "class of an error": classes_of_errors,
    "tag of a union": tags_of_unions,
    "time zone": zones,
    "payload": payloads,
    "template of a key": templates,
    "hook": hooks,
    "notification channel": channels,
    "command": commands,
    "signal": signals,
}


def rows(title: str) -> list[list[str]]:
    """The rows of a table of the page."""
    part = PAGE.read_text().partition(f"## {title}\n")[2].partition("\n## ")[0]
    lines = [line for line in part.splitlines() if line.startswith("| ")]
    return [[cell.strip() for cell in line.strip("|").split(" | ")] for line in lines[2:]]


@pytest.mark.filterwarnings("ignore:No worker has published:UserWarning")
@pytest.mark.parametrize("row", ATTEMPTS)
def test_a_hostile_name_becomes_nothing(row: str, shop: ModuleType, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(subprocess, "run", lambda *_, **__: pytest.fail("it was called"))

    assert ATTEMPTS[row](shop) == {}


def test_each_row_of_the_page_is_tried_and_the_authorities_are_those_of_the_code() -> None:
    assert [row[0] for row in rows("What a name becomes")] == list(ATTEMPTS)
    listed = {
        act: (proof.strip("`"), frozenset(re.findall(r"`(\w+)`", users)), None if role == "nobody" else role.strip("`"))
        for act, proof, users, role in rows("Who may ask for what")
    }
    assert listed == {act: (one.proof, one.users, one.role) for act, one in AUTHORITIES.items()}


LOOKS_UP = {
    "__init__.py": "public names of the package, by a table",
    "archive/__init__.py": "public names of the package, by a table",
    "cli/main.py": "the table of commands",
    "operations/verb.py": "the verbs in a module of the package; the methods that their declarations name",
    "contrib/django/backend.py": "classes of task backends in the settings; classes that are loaded, as an error",
    "services/modules.py": "modules of the command line",
    "worker/run/handlers.py": "rows 'function of a job' and 'undo function'",
    "worker/executors/isolated/loading.py": "the place where the worker's process has found the function",
    "worker/executors/isolated/remote_run.py": "errors of jobfleet from the worker's own process",
}
"""Files that look up objects by name, each with where the name comes from."""


def looks_up(tree: ast.Module) -> bool:
    """Whether a module imports, evaluates or reads the names of modules by a text that it is given."""
    modules = {
        alias.asname or alias.name.partition(".")[0]
        for node in ast.walk(tree)
        if isinstance(node, ast.Import)
        for alias in node.names
    }
    for node in ast.walk(tree):
        if isinstance(node, ast.Call):
            called = ast.unparse(node.func).rpartition(".")[2]
            constant = bool(node.args) and isinstance(node.args[0], ast.Constant)
            if called in {"import_module", "__import__", "import_string", "eval", "exec"} and not constant:
                return True
            if called in {"loads", "load"} and ast.unparse(node.func).partition(".")[0] in {
                "pickle",
                "marshal",
                "shelve",
            }:
                return True
            if called == "vars" and node.args and "module" in ast.unparse(node.args[0]):
                return True
            if (
                called == "getattr"
                and ast.unparse(node.args[0]).partition(".")[0] in modules
                and not isinstance(node.args[1], ast.Constant)
            ):
                return True
        if (
            isinstance(node, ast.Subscript)
            and ast.unparse(node.value) in {"sys.modules", "globals()"}
            and not isinstance(node.slice, ast.Constant)
        ):
            return True
    return False


def test_no_other_file_looks_up_objects_by_name() -> None:
    package = ROOT / "jobfleet"

    found = {str(path.relative_to(package)) for path in package.rglob("*.py") if looks_up(ast.parse(path.read_text()))}

    assert found == LOOKS_UP.keys()
