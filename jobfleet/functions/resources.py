"""`Resource`: an object that a worker opens once per process and passes to the parameter of a job function."""

from __future__ import annotations

import inspect
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, ClassVar, Literal

from jobfleet.errors import InvalidJob

Factory = Callable[..., Any]
Scope = Literal["process", "run"]

NOTHING: Any = object()
_overrides: dict[Factory, Any] = {}
_lock = threading.Lock()


class _Injected:
    """The placeholder for the object that the worker passes."""

    def __repr__(self) -> str:
        return "Resource.injected"


@dataclass(frozen=True, slots=True)
class Resource:
    """Marks a parameter that receives the object of a factory: ``pool: Annotated[Pool, Resource(open_pool)]``.

    A process of a worker opens one object for all jobs that need it, when the first of them starts, and closes it when
    the process drains. With the scope ``run``, each run has its own object. It is closed when the function has ended,
    whatever ended it. Two parameters with the same factory share the object.

    A parameter of a factory may be marked with a resource too. A factory with the scope ``process`` needs such
    resources of its own scope only. Resources are closed in reverse order.

    Attributes:
        factory: Called with the resources that it needs: an ``@asynccontextmanager`` or ``@contextmanager`` function, a
            class or function that returns a context manager of either kind, or a function, ``async`` or not, that
            returns a value. Async code is called on the event loop of the worker, other code in a thread.
        scope: ``process`` or ``run``.
        injected: A default for such parameters, so that type checkers require no argument of callers.

    Raises:
        InvalidJob: `scope` is unknown, or `factory` is not callable, or is a generator function without a context
            manager decorator.
    """

    factory: Factory
    scope: Scope = "process"
    injected: ClassVar[Any] = _Injected()

    def __post_init__(self) -> None:
        """Check the factory."""
        if self.scope not in ("process", "run"):
            raise InvalidJob(f"scope is {self.scope!r}; give 'process' or 'run'.", field="scope")
        if not callable(self.factory):
            raise InvalidJob(f"Resource takes a function that opens it, not {self.factory!r}.", field="function")
        if inspect.isgeneratorfunction(self.factory) or inspect.isasyncgenfunction(self.factory):
            kind = "async" if inspect.isasyncgenfunction(self.factory) else ""
            raise InvalidJob(f"{self.name} is a bare generator; put @{kind}contextmanager on it.", field="function")

    @property
    def name(self) -> str:
        """The name of the factory, for logs."""
        return str(getattr(self.factory, "__qualname__", None) or repr(self.factory))

    @staticmethod
    @contextmanager
    def override(factory: Factory, value: object) -> Iterator[None]:
        """Pass `value` instead of the object of `factory`, in this process, while the block runs; for tests.

        Args:
            factory: The factory that parameters name.
            value: The object to pass; it is not closed.
        """
        with _lock:
            before = _overrides.get(factory, NOTHING)
            _overrides[factory] = value
        try:
            yield
        finally:
            with _lock:
                if before is NOTHING:
                    del _overrides[factory]
                else:
                    _overrides[factory] = before


def overridden(resource: Resource) -> Any:
    """The object that a test passes instead of a resource; `NOTHING` when there is none."""
    return _overrides.get(resource.factory, NOTHING)
