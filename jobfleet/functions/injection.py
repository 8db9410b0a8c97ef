"""The parameters of a function that the worker fills, and `Resource`, which it opens once per process for them."""

from __future__ import annotations

import inspect
import threading
import types
import typing
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, replace
from typing import Any, ClassVar, Literal

from jobfleet.errors import InvalidJob
from jobfleet.functions.callables import called
from jobfleet.functions.context import JobContext
from jobfleet.secret import Secret

# Find the parameters of a function that the worker fills, and that callers do not give.


PROGRESS_PARAMETER = "progress_callback"
_UNIONS = (types.UnionType, typing.Union, typing.Annotated)


@dataclass(frozen=True, slots=True)
class Injection:
    """The parameters of a function that the worker fills.

    Attributes:
        context: The parameter annotated ``JobContext``; None when there is none.
        context_first: Whether the context is the first parameter, and is passed by position.
        progress: Whether there is a parameter named ``progress_callback``.
        resources: The parameters annotated with a `Resource`, each with its resource.
        secrets: The parameters annotated with `Secret`, each with its place among those that callers give. Their
            values are wrapped, if callers did not.
    """

    context: str | None = None
    context_first: bool = False
    progress: bool = False
    resources: tuple[tuple[str, Resource], ...] = ()
    secrets: tuple[tuple[str, int], ...] = ()

    @property
    def is_none(self) -> bool:
        """Whether nothing is injected or wrapped."""
        return self.context is None and not self.progress and not self.resources and not self.secrets

    @property
    def has_run_scope(self) -> bool:
        """Whether a resource is opened for each run."""
        return any(resource.scope == "run" for _, resource in self.resources)

    @property
    def hidden(self) -> frozenset[str]:
        """The names of the parameters that callers do not give."""
        names = [name for name, _ in self.resources] + [PROGRESS_PARAMETER]
        return frozenset(names if self.context is None else [*names, self.context])


def injection_of(function: Callable[..., Any]) -> Injection:
    """Find the parameters that the worker fills.

    Raises:
        InvalidJob: A resource is before a parameter that callers give, or its annotation cannot be evaluated.
    """
    try:
        parameters = list(inspect.signature(function).parameters.values())
    except (TypeError, ValueError):
        return Injection()
    hints = hints_of(function)
    context = None
    for parameter in parameters:
        hint = hints.get(parameter.name, parameter.annotation)
        if hint is JobContext or (isinstance(hint, str) and hint.rpartition(".")[2] == "JobContext"):
            context = parameter.name
            break
    found = Injection(
        context=context,
        context_first=bool(context) and parameters[0].name == context,
        progress=any(parameter.name == PROGRESS_PARAMETER for parameter in parameters),
        resources=_marked(function, parameters, hints),
    )
    given = [parameter for parameter in parameters if parameter.name not in found.hidden]
    secrets = [(one.name, place) for place, one in enumerate(given) if _is_secret(hints.get(one.name))]
    if secrets:
        found = replace(found, secrets=tuple(secrets))
    _check_order(function, parameters, found)
    for _, resource in found.resources:
        _check_needs(resource, ())
    return found


def _is_secret(hint: object) -> bool:
    """Whether an annotation is `Secret`, or a union with it."""
    if hint is Secret or typing.get_origin(hint) is Secret:
        return True
    return any(map(_is_secret, typing.get_args(hint))) if typing.get_origin(hint) in _UNIONS else False


def with_secrets(
    injection: Injection, args: Sequence[Any], kwargs: Mapping[str, Any]
) -> tuple[list[Any], dict[str, Any]]:
    """The arguments that a caller gives, with secrets wrapped."""
    args, kwargs = [*args], {**kwargs}
    for name, place in injection.secrets:
        if name in kwargs:
            kwargs[name] = _as_secret(kwargs[name])
        elif place < len(args):
            args[place] = _as_secret(args[place])
    return args, kwargs


def _as_secret(value: object) -> object:
    return value if value is None or isinstance(value, Secret) else Secret(value)


def parameters_of(function: Callable[..., Any], injection: Injection) -> tuple[inspect.Parameter, ...] | None:
    """The parameters that a caller gives; None when the signature is not known."""
    try:
        signature = inspect.signature(function)
    except (TypeError, ValueError):
        return None
    return tuple(parameter for parameter in signature.parameters.values() if parameter.name not in injection.hidden)


def hints_of(function: Callable[..., Any]) -> dict[str, Any]:
    """Evaluate the annotations; an annotation that cannot be evaluated is left out."""
    function = called(function)  # an object has the annotations of its __call__
    try:
        return typing.get_type_hints(function, include_extras=True)
    except Exception:  # noqa: BLE001 - annotations are code of the user and may raise anything
        hints = {}
    scope = getattr(function, "__globals__", {})
    for name, annotation in getattr(function, "__annotations__", {}).items():
        one = type("one", (), {"__annotations__": {name: annotation}})
        with suppress(Exception):
            hints.update(typing.get_type_hints(one, scope, include_extras=True))
    return hints


def _marked(
    function: Callable[..., Any], parameters: Iterable[inspect.Parameter], hints: Mapping[str, Any]
) -> tuple[tuple[str, Resource], ...]:
    found = []
    for parameter in parameters:
        hint = hints.get(parameter.name)
        for mark in getattr(hint, "__metadata__", ()):
            if isinstance(mark, Resource):
                found.append((parameter.name, mark))
                break
        else:
            if hint is None and isinstance(parameter.annotation, str) and "Resource(" in parameter.annotation:
                raise InvalidJob(
                    f"{getattr(function, '__qualname__', function)}: cannot read {parameter.annotation!r} of "
                    f"{parameter.name!r}; the names in it must be those of its module.",
                    field="function",
                )
    return tuple(found)


def needs_of(resource: Resource) -> tuple[tuple[str, Resource], ...]:
    """The parameters of a resource's factory that receive other resources.

    Raises:
        InvalidJob: An annotation cannot be evaluated.
    """
    factory = resource.factory
    try:
        parameters = list(inspect.signature(factory).parameters.values())
    except (TypeError, ValueError):
        return ()
    return _marked(factory, parameters, hints_of(factory.__init__ if inspect.isclass(factory) else factory))


def _check_needs(resource: Resource, path: tuple[Resource, ...]) -> None:
    """Refuse factories that need each other, and objects of a process that need an object of a run."""
    if any(one.factory == resource.factory for one in path):
        names = " → ".join(one.name for one in (*path, resource))
        raise InvalidJob(f"Resources need each other: {names}.", field="function")
    if path and path[-1].scope == "process" and resource.scope == "run":
        raise InvalidJob(
            f"{path[-1].name} is opened once per process and cannot need {resource.name}, which has the scope 'run'.",
            field="scope",
        )
    for _, needed in needs_of(resource):
        _check_needs(needed, (*path, resource))


def _check_order(function: Callable[..., Any], parameters: Iterable[inspect.Parameter], found: Injection) -> None:
    """Refuse a positional parameter after a resource, because a resource is passed by name."""
    names = {name for name, _ in found.resources}
    seen = ""
    for parameter in parameters:
        if parameter.name in names and parameter.kind is not inspect.Parameter.KEYWORD_ONLY:
            if parameter.kind is inspect.Parameter.POSITIONAL_ONLY:
                raise InvalidJob(f"{parameter.name!r} is given by name: move it behind the /.", field="function")
            seen = parameter.name
        elif (
            seen
            and parameter.kind in (inspect.Parameter.POSITIONAL_OR_KEYWORD, inspect.Parameter.VAR_POSITIONAL)
            and parameter.name not in found.hidden
        ):
            raise InvalidJob(
                f"{getattr(function, '__qualname__', function)}: put the resource {seen!r} behind {parameter.name!r}, "
                "which callers give.",
                field="function",
            )


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
