"""The name under which a function is registered: its module's and its own, the same in every process."""

from __future__ import annotations

import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

from jobfleet.errors import InvalidJob
from jobfleet.model import check_function_name

CLEANUP = "jobfleet.maintenance.cleanup"
UNDO = "jobfleet.undo"
BUILT_IN: dict[str, tuple[str, ...]] = {CLEANUP: ("days", "failed_days"), UNDO: ("job_id",)}
"""The jobs that every worker knows, with the names of their parameters."""


def stable_name(function: Callable[..., Any], *, label: str = "") -> str:
    """The name under which workers find a function: ``module.qualname``.

    Raises:
        InvalidJob: It is a lambda, a closure, or nothing that a module holds.
    """
    qualname = getattr(function, "__qualname__", None)
    module = getattr(function, "__module__", None)
    if not isinstance(qualname, str) or not isinstance(module, str) or "<" in qualname:
        is_lambda = bool(qualname) and "<lambda>" in str(qualname)
        what = "a lambda" if is_lambda else "a function that no module holds"
        cleaning = f" To clean up, there is {CLEANUP!r}." if is_lambda else ""
        raise InvalidJob(
            f"Job {label or qualname or repr(function)!r} has {what}; workers find functions by name. "
            f'Use a module-level def with @job, or register_job_function("name", fn).{cleaning}',
            field="function",
        )
    return check_function_name(f"{module_name(module)}.{qualname}")


def is_own(function: Callable[..., Any]) -> bool:
    """Whether a function belongs to jobfleet itself, so that no step may name it."""
    return str(getattr(function, "__module__", "")).partition(".")[0] == __name__.partition(".")[0]


def is_same(one: Callable[..., Any], other: Callable[..., Any]) -> bool:
    """Whether both are one function, perhaps imported twice (``__main__``, a reload)."""
    code, other_code = getattr(one, "__code__", None), getattr(other, "__code__", None)
    if code is None or other_code is None or one.__qualname__ != other.__qualname__ or "<" in one.__qualname__:
        return one is other
    return bool(code.co_filename == other_code.co_filename and code.co_name == other_code.co_name)


def module_name(module: str) -> str:
    """The name under which a module's functions travel: its own, and for ``__main__`` that of what was started."""
    if module != "__main__":
        return module
    main = sys.modules["__main__"]
    spec = getattr(main, "__spec__", None)
    if spec is not None:
        return str(spec.name).removesuffix(".__main__")
    path = getattr(main, "__file__", None)
    return Path(path).stem if path else "__main__"
