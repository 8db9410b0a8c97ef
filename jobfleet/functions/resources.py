"""`Resource`: what a parameter asks the worker to open, once a process, and to hand in."""

from __future__ import annotations

import inspect
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, ClassVar

from jobfleet.errors import InvalidJob

Factory = Callable[[], Any]

NOTHING: Any = object()
_overrides: dict[Factory, Any] = {}
_lock = threading.Lock()


class _Injected:
    """Stands for what the worker hands in, until it does."""

    def __repr__(self) -> str:
        return "Resource.injected"


@dataclass(frozen=True, slots=True)
class Resource:
    """Marks a parameter that is given what a factory opens: ``pool: Annotated[Pool, Resource(open_pool)]``.

    A worker's process opens one for all jobs that ask for it, when the first does, and closes it when it drains.
    Two parameters with the same factory share what it opened.

    Attributes:
        factory: Called without arguments: an ``@asynccontextmanager`` or ``@contextmanager`` function, a class or
            function that gives a context manager of either kind, or a function, ``async`` or not, that gives a
            value. What is async is called on the worker's event loop, all else in a thread.
        injected: A default for such parameters, so that type checkers ask callers for no argument.

    Raises:
        InvalidJob: `factory` cannot be called, or is a generator that nothing makes a context manager of.
    """

    factory: Factory
    injected: ClassVar[Any] = _Injected()

    def __post_init__(self) -> None:
        """Refuse what cannot be a factory."""
        if not callable(self.factory):
            raise InvalidJob(f"Resource takes a function that opens it, not {self.factory!r}.", field="function")
        if inspect.isgeneratorfunction(self.factory) or inspect.isasyncgenfunction(self.factory):
            kind = "async" if inspect.isasyncgenfunction(self.factory) else ""
            raise InvalidJob(f"{self.name} is a bare generator; put @{kind}contextmanager on it.", field="function")

    @property
    def name(self) -> str:
        """The factory's name, for logs."""
        return str(getattr(self.factory, "__qualname__", None) or repr(self.factory))

    @staticmethod
    @contextmanager
    def override(factory: Factory, value: object) -> Iterator[None]:
        """Hand in `value` wherever `factory` is asked for, in this process, while the block runs; for tests.

        Args:
            factory: The one that parameters name.
            value: Given as it is, and not closed.
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
    """What a test gives in a resource's place; `NOTHING` where none does."""
    return _overrides.get(resource.factory, NOTHING)
