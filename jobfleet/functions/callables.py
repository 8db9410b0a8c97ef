"""The callables of users: their stable names, whether they are coroutine functions, whether arguments fit."""

from __future__ import annotations

import functools
import inspect
import sys
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from jobfleet.errors import InvalidJob
from jobfleet.model import check_function_name
from jobfleet.model.option_types import Items

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


def is_coroutine_function(function: Callable[..., Any]) -> bool:
    """Whether a call of it returns a coroutine: an ``async def``, or an object whose ``__call__`` is one."""
    return inspect.iscoroutinefunction(called(function))


def called(function: Callable[..., Any]) -> Callable[..., Any]:
    """The function that a call runs: for an object with ``__call__`` that method, else the function itself."""
    while isinstance(function, functools.partial):
        function = function.func
    if inspect.isroutine(function) or isinstance(function, type):
        return function
    method: Callable[..., Any] = getattr(function, "__call__", function)  # noqa: B004 - the method itself is wanted
    return method


SHAPES_MOST = 64
"""How many shapes of calls are remembered per function; a function with ``**kwargs`` may have any number."""
CONTEXT_NAMES = frozenset({"ctx", "context", "job_context"})


class Fit:
    """Whether the arguments of a job fit its function.

    A shape is the number of positional arguments and the names of the others. Shapes that fit are remembered, so that
    the caller of `check` can look up the shape of a usual call first.

    Args:
        name: The name of the function, for errors.
        parameters: The parameters that a caller gives; None if they are not known, then everything fits.

    Attributes:
        shapes: The shapes that fit, as far as they are known.
    """

    __slots__ = ("_name", "_parameters", "shapes")

    def __init__(self, name: str, parameters: Sequence[inspect.Parameter] | None) -> None:
        self._name = name
        self._parameters = parameters
        self.shapes: set[object] = set()

    def check(self, shape: object, args: Items[object], kwargs: Mapping[str, Any]) -> None:
        """Check a call of a shape that is not known yet.

        Args:
            shape: The shape; see `Fit`.
            args: The positional arguments.
            kwargs: The other arguments.

        Raises:
            InvalidJob: The function does not accept these arguments.
        """
        self._check(args, kwargs)
        if len(self.shapes) < SHAPES_MOST:
            self.shapes.add(shape)

    def _check(self, args: Items[object], kwargs: Mapping[str, Any]) -> None:
        if self._parameters is None:
            return
        signature = inspect.Signature(self._parameters)
        try:
            signature.bind(*args, **kwargs)
        except TypeError as error:
            shown = inspect.Signature([one.replace(annotation=one.empty) for one in self._parameters])
            raise InvalidJob(f"{self._name} takes {shown}: {error}{self._hint()}.", field="args") from None

    def _hint(self) -> str:
        """The remedy for a context without its annotation, which a caller would have to give."""
        first = next(iter(self._parameters or ()), None)
        if first is None or first.name not in CONTEXT_NAMES or first.annotation is not first.empty:
            return ""
        return f"; to receive the context of the job, annotate '{first.name}: JobContext'"
