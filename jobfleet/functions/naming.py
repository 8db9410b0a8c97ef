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
