"""Job functions by name: `job`, which makes a function a job; `JobFunction`; and the registry that workers read."""

from __future__ import annotations

import typing
from collections.abc import Awaitable, Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from types import GenericAlias
from typing import TYPE_CHECKING, Any, Concatenate, Generic, ParamSpec, TypeVar, Unpack, overload

from jobfleet.errors import InvalidJob, warn
from jobfleet.functions.batch import BATCH, Batch, BatchItem, T, batch_of
from jobfleet.functions.callables import Fit, is_coroutine_function, is_same, stable_name
from jobfleet.functions.context import JobContext
from jobfleet.functions.default_fleet import AnyFleet, default_fleet
from jobfleet.functions.hooks import AroundEnqueue, CallWrapper, Hooks, Middleware
from jobfleet.functions.injection import Injection, injection_of, parameters_of, with_secrets
from jobfleet.functions.limiting import DECLARED, GATES, Gates, declared_limit, gates_of
from jobfleet.functions.options import (
    KEEP_ARGS,
    KEEP_LAST,
    LIMITS,
    UPCAST,
    VERSION,
    FunctionOptions,
    Isolation,
    RegisteredOptions,
    RetryDelayFunction,
    Schema,
    delay_function_of,
    kept_of,
    run_place,
    schema_of,
)
from jobfleet.functions.typed_call import TypedCall, typed_call_of
from jobfleet.model import Job, check_function_name
from jobfleet.model.limits import DeclaredLimit
from jobfleet.model.option_checks import CALLBACKS, exception_classes, meant
from jobfleet.model.option_types import OPTIONS, RIVALS, SHARED, JobOptions, Seconds
from jobfleet.model.templates import GroupTemplate, check_order, group_option, placeholders

if TYPE_CHECKING:
    from typing_extensions import ParamSpec as ParamSpecWithDefault  # only type checkers need the default

    from jobfleet.cron import Cron
    from jobfleet.handle._async.handle import AsyncJobHandle
    from jobfleet.handle._sync.handle import JobHandle

    Q = ParamSpecWithDefault("Q", default=...)
else:
    Q = ParamSpec("Q")

P = ParamSpec("P")
R_co = TypeVar("R_co", covariant=True)
C_co = TypeVar("C_co", covariant=True)
DECORATOR_ONLY = frozenset((*LIMITS, *BATCH, *DECLARED, *GATES, KEEP_LAST, KEEP_ARGS, VERSION, UPCAST))
OF_FUNCTION = (KEEP_LAST, KEEP_ARGS, VERSION)
"""Options of a function that are published with those of its jobs."""
FIRST = Schema()
ON_ERRORS = frozenset({"retry_on", "discard_on"})


class JobFunction(Generic[P, R_co, C_co, Q]):
    """A function that jobs run, with the default options of these jobs.

    A call of it calls the function. `enqueue` enqueues a job with the given arguments.
    Type parameters: the parameters without the injected context, the result of a job, the result of a plain call, and
    the parameters of a plain call, which may be left out.
    """

    is_for_producers = True
    """Whether anybody may enqueue it; see `jobfleet.model.audit`."""

    if not TYPE_CHECKING:
        __class_getitem__ = classmethod(GenericAlias)  # the last parameter has a default, which Python knows from 3.13

    def __init__(
        self,
        function: Callable[..., Any],
        *,
        name: str,
        options: Mapping[str, Any],
        retry_on: tuple[type[BaseException], ...] = (),
        discard_on: tuple[type[BaseException], ...] = (),
        delay_of: RetryDelayFunction | None = None,
        cron: Cron | None = None,
        isolation: Isolation | None = None,
        run_in: str = "",
        batch: Batch | None = None,
        limit: DeclaredLimit | None = None,
        gates: Gates | None = None,
        schema: Schema = FIRST,
        fleet: AnyFleet | None = None,
    ) -> None:
        self.function: Callable[Q, C_co] = function
        self.name = name
        self.given: Mapping[str, Any] = options
        self.cron = cron
        self.retry_on = retry_on
        self.discard_on = discard_on
        self.delay_of = delay_of
        self.limit = limit
        self.gates = gates
        self.schema = schema
        self.injection: Injection = injection_of(function)
        self.parameters = parameters_of(function, self.injection)
        self.batch = batch
        if batch is not None:
            self.parameters = batch.parameters(self.parameters or ())
            self.injection = batch.injection(self.injection)
        # A wrapper may take arguments of its own.
        self.fit: Fit = Fit(name, None if hasattr(function, "__wrapped__") else self.parameters)
        self.typed: TypedCall | None = None
        self.is_coroutine: bool = is_coroutine_function(function)
        self.isolation = isolation
        self.run_in: str = run_in or ("async" if self.is_coroutine else "thread")
        self._fleet = fleet
        self.__doc__ = function.__doc__
        self.__name__: str = getattr(function, "__name__", name)
        self.__qualname__ = getattr(function, "__qualname__", self.__name__)
        self.__module__ = getattr(function, "__module__", __name__)
        self.__wrapped__ = function

    def __call__(self, /, *args: Q.args, **kwargs: Q.kwargs) -> C_co:
        """Call the function in this thread, without a job."""
        return self.function(*args, **kwargs)

    def __repr__(self) -> str:
        return f"<job {self.name}>"

    def options(self, **options: Unpack[JobOptions]) -> JobFunction[P, R_co, C_co, Q]:
        """Return the same function with other default options; `Job` lists the options.

        An option of None is as if the decorator did not set it.

        Raises:
            InvalidJob: An option is unknown or wrong.
        """
        for option in (DECORATOR_ONLY | ON_ERRORS | {"cron"}).intersection(options):
            place = "run_in='process', " if option in LIMITS else ""
            raise InvalidJob(f"{option} can only be set on the decorator: @job({place}{option}=…).", field=option)
        if "name" in options:
            raise InvalidJob("name is the label of one job: use Job(NAME, FUNCTION, …).", field="name")
        _check_options(options, allowed=OPTIONS)
        copy: JobFunction[P, R_co, C_co, Q] = object.__new__(JobFunction)
        copy.__dict__.update(self.__dict__)
        given = dict(self.given)
        kept = {option: given.pop(option) for option in OF_FUNCTION if option in given}
        copy.given = Job(self.name, self, **_merged(given, options)).own_options() | kept
        return copy

    def job(self, /, *args: P.args, **kwargs: P.kwargs) -> Job[R_co]:
        """Make a job with these arguments, for `enqueue_many`, flows and tests."""
        if self.injection.secrets:
            given, named = with_secrets(self.injection, args, kwargs)
            return Job.checked(self, self.name, tuple(given), named, self.given)
        return Job.checked(self, self.name, args, kwargs, self.given)

    def enqueue(self, /, *args: P.args, **kwargs: P.kwargs) -> JobHandle[R_co]:
        """Enqueue a job with these arguments; return its handle.

        Raises:
            ConfigError: The function belongs to no fleet, and there is no default fleet.
            EncodingError: An argument cannot be encoded.
            DuplicateJob: Another job holds its unique key, and the function has ``on_conflict="raise"``.
            TypeError: Its fleet is an `AsyncFleet`; await `aenqueue`.
        """
        bound = self._bound()
        if not bound.is_blocking:
            raise TypeError(f"{self.name} belongs to an AsyncFleet: await aenqueue(…) instead of enqueue(…).")
        handle: JobHandle[R_co] = bound.handle_of(self.job(*args, **kwargs))
        return handle

    async def aenqueue(self, /, *args: P.args, **kwargs: P.kwargs) -> AsyncJobHandle[R_co]:
        """Enqueue a job with these arguments; return its handle.

        Raises:
            ConfigError: The function belongs to no fleet, and there is no default fleet.
            EncodingError: An argument cannot be encoded.
            DuplicateJob: Another job holds its unique key, and the function has ``on_conflict="raise"``.
        """
        handle: AsyncJobHandle[R_co] = await self._bound().for_running_loop().handle_of(self.job(*args, **kwargs))
        return handle

    def _bound(self) -> AnyFleet:
        return self._fleet if self._fleet is not None else default_fleet()


def _check_options(options: Iterable[str], *, allowed: frozenset[str]) -> None:
    for option in options:
        if option not in allowed:
            raise InvalidJob(_unknown(option, allowed), field=option)


def _unknown(option: str, allowed: frozenset[str]) -> str:
    if option in OPTIONS:
        return f"{option} is for one job: give it to .options({option}=…) or to Job(…)."
    return f"{option!r} is not an option of a job{meant(option, allowed)}"


def _merged(given: Mapping[str, Any], options: Mapping[str, Any]) -> dict[str, Any]:
    """Replace options by others. One that is given also replaces the one that excludes it."""
    merged = {**given, **options}
    for pair in RIVALS:
        for one, other in (pair, pair[::-1]):
            if options.get(one) is not None and other not in options:
                merged.pop(other, None)
    return merged


@dataclass(slots=True)
class Registry:
    """Job functions by name, with their hooks and middleware.

    Attributes:
        functions: The registered functions by name.
        around_run: Middleware. Each function receives the context of a run and the next call, which it may await. The
            first is the outermost, and all of them are outside the middleware of `hooks`.
        hooks: The hooks before, after and around runs, and around enqueues.
        around_call: Each of these receives a function that a worker will call, and returns one that it calls instead,
            with the same parameters, where the function itself runs: in the thread of the job, for instance. They are
            applied before the first job of a function; the last one is the outermost.
        enqueued: Functions without ``@job`` that this process has enqueued, by name. Only workers inside this process
            run them.
        workers: How many workers inside this process serve this registry.
    """

    functions: dict[str, JobFunction[..., Any, Any]] = field(default_factory=dict)
    around_run: list[Middleware] = field(default_factory=list)
    hooks: Hooks = field(default_factory=Hooks)
    around_call: list[CallWrapper] = field(default_factory=list)
    enqueued: dict[str, Callable[..., Any]] = field(default_factory=dict)
    workers: int = 0

    @property
    def around_enqueue(self) -> list[AroundEnqueue]:
        """The functions that change jobs before their enqueue; those of `hooks`."""
        return self.hooks.around_enqueues

    def wrapped(self, call: Callable[..., Any]) -> Callable[..., Any]:
        """What a worker calls for a function: its code, and `around_call` around it."""
        for wrap in self.around_call:
            call = wrap(call)
        return call

    def get(self, name: str) -> JobFunction[..., Any, Any] | None:
        """Return the function with this name; None when it is not registered."""
        return self.functions.get(name)

    def register(
        self,
        function: Callable[..., Any],
        *,
        name: str | None = None,
        retry_on: tuple[type[BaseException], ...] = (),
        discard_on: tuple[type[BaseException], ...] = (),
        fleet: AnyFleet | None = None,
        **options: Any,
    ) -> JobFunction[..., Any, Any]:
        """Register a function under a name.

        Args:
            function: The function.
            name: The name on the wire; None for ``module.qualname``.
            retry_on: Exceptions after which a job is retried, even if the default is not to retry.
            discard_on: Exceptions after which a job is not retried.
            fleet: The fleet that `enqueue` uses; None for the default fleet.
            options: See `job`.

        Raises:
            InvalidJob: An option is wrong, or another function has the name.
        """
        if not callable(function):
            raise InvalidJob(f"{function!r} is not callable.", field="function")
        wire = check_function_name(name) if name is not None else stable_name(function)
        retry_on, discard_on = exception_classes("retry_on", retry_on), exception_classes("discard_on", discard_on)
        cron = _cron_of(options)
        _check_options(options, allowed=SHARED | DECORATOR_ONLY)
        given = {option: options.pop(option) for option in ("run_in", *LIMITS) if option in options}
        place = run_place(function, given)
        isolation = place.isolation
        delay_of = delay_function_of(options, wire)
        gathered = {option: options.pop(option) for option in BATCH if option in options}
        kept, schema = kept_of(options), schema_of(options)
        if schema.version > 1:
            kept[VERSION] = schema.version
        batch = batch_of(function, gathered, run_in=place.run_in, cron=cron)
        if isolation is not None and isolation.on_oom == (options.get("queue") or "default"):
            raise InvalidJob(f"on_oom is {isolation.on_oom!r}, the function's own queue; name another.", field="on_oom")
        declared = {option: options.pop(option) for option in DECLARED if option in options}
        gates = gates_of(options, lambda: parameters_of(function, injection_of(function)))
        if "group" in options:
            options["group"] = group_option(options["group"])
        options = Job(wire, wire, **options).own_options()
        for option in CALLBACKS if cron is not None else ():
            if option in options:
                raise InvalidJob(
                    f"{option} is not for a recurring job; use a hook or a rule of notifications.", field=option
                )
        known = self.functions.get(wire)
        if known is not None and not is_same(known.function, function):
            raise InvalidJob(f"{wire!r} is taken by {known.function!r}; give another name.", field="name")
        made: JobFunction[..., Any, Any] = JobFunction(
            function,
            name=wire,
            options=options | kept,
            retry_on=retry_on,
            discard_on=discard_on,
            delay_of=delay_of,
            isolation=isolation,
            run_in=place.run_in,
            batch=batch,
            limit=declared_limit(declared, options),
            gates=gates,
            schema=schema,
            cron=cron,
            fleet=fleet,
        )
        _check_templates(made)
        _check_group_given(made)
        made.typed = typed_call_of(wire, function, made.parameters, made.injection, batch)
        self.functions[wire] = made
        return made


def _cron_of(options: dict[str, Any]) -> Cron | None:
    """Remove the schedule (``cron`` with ``tz``, or a `Cron`) from the options; return it, or None."""
    cron, expression, tz = (options.pop(option, None) for option in ("cron", "cron_expression", "tz"))
    if cron is not None and expression is not None:
        raise InvalidJob("cron and cron_expression are both given; give one.", field="cron_expression")
    given = expression if cron is None else cron
    if given is None:
        if tz is not None:
            raise InvalidJob("tz is the time zone of cron, which is not given.", field="tz")
        return None
    from jobfleet.cron import Cron  # imports croniter, which only recurring jobs need

    if isinstance(given, Cron):
        if tz is not None:
            raise InvalidJob("tz is given twice; leave it to Cron(…, tz=…).", field="tz")
        return given
    made = Cron(given, tz or "UTC")
    if made.doubt:
        warn(made.doubt)
    return made


def _check_templates(made: JobFunction[..., Any, Any]) -> None:
    """Refuse a unique key or a group that names a parameter that the function does not have."""
    unique, group = made.given.get("unique"), made.given.get("group")
    if made.parameters is None or any(parameter.kind is parameter.VAR_KEYWORD for parameter in made.parameters):
        return
    names = [parameter.name for parameter in made.parameters]
    templates = {"unique": unique if isinstance(unique, str) else "", "group": group}
    for option, template in templates.items():
        for name in placeholders(template, option) if option == "unique" or isinstance(group, GroupTemplate) else ():
            if name and not name.isdecimal() and name not in names:
                raise InvalidJob(
                    f"{option} names {{{name}}}, which is not a parameter of {made.name}; "
                    f"it has {', '.join(names) or 'none'}.",
                    field=option,
                )


def _check_group_given(made: JobFunction[..., Any, Any]) -> None:
    """Refuse what needs a group, if the function has none, and an order whose jobs could lose their place."""
    order, group, on_conflict = (made.given.get(option) for option in ("order", "group", "on_conflict"))
    if order:
        check_order(order, group, on_conflict)
    if (
        group is None
        and made.gates is not None
        and made.gates.breaker is not None
        and made.gates.breaker.per == "group"
    ):
        raise InvalidJob(f"breaker is per='group', but {made.name} has no group; give group too.", field="breaker")


REGISTRY = Registry()
hooks: Hooks = REGISTRY.hooks
"""Hooks of the default registry."""


R = TypeVar("R")


class Decorator(typing.Protocol):
    """What ``@job(...)`` returns."""

    @overload
    def __call__(
        self, function: Callable[Concatenate[JobContext, P], Awaitable[R]]
    ) -> JobFunction[P, R, Awaitable[R], Concatenate[JobContext, P]]: ...
    @overload
    def __call__(self, function: Callable[P, Awaitable[R]]) -> JobFunction[P, R, Awaitable[R], P]: ...
    @overload
    def __call__(
        self, function: Callable[Concatenate[JobContext, P], R]
    ) -> JobFunction[P, R, R, Concatenate[JobContext, P]]: ...
    @overload
    def __call__(self, function: Callable[P, R]) -> JobFunction[P, R, R, P]: ...


class BatchDecorator(typing.Protocol):
    """What ``@job(batch=…)`` returns."""

    @overload
    def __call__(
        self, function: Callable[Concatenate[list[BatchItem[T]], ...], Awaitable[None]]
    ) -> JobFunction[[T], Any, Awaitable[None], Concatenate[list[BatchItem[T]], ...]]: ...
    @overload
    def __call__(
        self, function: Callable[Concatenate[list[BatchItem[T]], ...], Awaitable[Sequence[R]]]
    ) -> JobFunction[[T], R, Awaitable[Sequence[R]], Concatenate[list[BatchItem[T]], ...]]: ...
    @overload
    def __call__(
        self, function: Callable[Concatenate[list[BatchItem[T]], ...], Sequence[R]]
    ) -> JobFunction[[T], R, Sequence[R], Concatenate[list[BatchItem[T]], ...]]: ...
    @overload
    def __call__(
        self, function: Callable[Concatenate[list[BatchItem[T]], ...], None]
    ) -> JobFunction[[T], Any, None, Concatenate[list[BatchItem[T]], ...]]: ...
    @overload
    def __call__(
        self, function: Callable[Concatenate[list[T], ...], Awaitable[None]]
    ) -> JobFunction[[T], None, Awaitable[None], Concatenate[list[T], ...]]: ...
    @overload
    def __call__(
        self, function: Callable[Concatenate[list[T], ...], Awaitable[Sequence[R]]]
    ) -> JobFunction[[T], R, Awaitable[Sequence[R]], Concatenate[list[T], ...]]: ...
    @overload
    def __call__(
        self, function: Callable[Concatenate[list[T], ...], Sequence[R]]
    ) -> JobFunction[[T], R, Sequence[R], Concatenate[list[T], ...]]: ...
    @overload
    def __call__(
        self, function: Callable[Concatenate[list[T], ...], None]
    ) -> JobFunction[[T], None, None, Concatenate[list[T], ...]]: ...


class JobDecorator:
    """Register a function as a job function: ``@job``, ``@job(queue="mail")``, or ``@fleet.job`` for one fleet.

    A parameter whose annotation names a type that JSON does not have, such as a dataclass, receives an object of it. So
    does the caller of `JobHandle.result`, by the return annotation.
    Called with the function itself, it returns the `JobFunction`. Called with options, it returns a decorator.

    Args:
        registry: The registry that it fills; None for the default registry.
        fleet: The fleet that the functions enqueue to; None for the default fleet.
    """

    __slots__ = ("_fleet", "_registry")

    def __init__(self, registry: Registry | None = None, fleet: AnyFleet | None = None) -> None:
        self._registry = registry
        self._fleet = fleet

    @overload
    def __call__(
        self, function: Callable[Concatenate[JobContext, P], Awaitable[R]], /
    ) -> JobFunction[P, R, Awaitable[R], Concatenate[JobContext, P]]: ...
    @overload
    def __call__(self, function: Callable[P, Awaitable[R]], /) -> JobFunction[P, R, Awaitable[R], P]: ...
    @overload
    def __call__(
        self, function: Callable[Concatenate[JobContext, P], R], /
    ) -> JobFunction[P, R, R, Concatenate[JobContext, P]]: ...
    @overload
    def __call__(self, function: Callable[P, R], /) -> JobFunction[P, R, R, P]: ...
    @overload
    def __call__(
        self, /, *, batch: int, batch_wait: Seconds | None = None, **options: Unpack[FunctionOptions]
    ) -> BatchDecorator: ...
    @overload
    def __call__(self, /, **options: Unpack[FunctionOptions]) -> Decorator: ...
    def __call__(self, function: Callable[..., Any] | None = None, /, **options: Any) -> Any:
        """Register a function, or return a decorator that does.

        Args:
            function: The function; the decorator passes it.
            batch: The most jobs whose values the function receives in one list, 1 to 1,000.
            batch_wait: How long a batch waits for more jobs, in seconds.
            options: The function's own options, see `FunctionOptions`, and defaults of its jobs, see `Job`.

        Raises:
            InvalidJob: An option is wrong, or another function has the name.
        """
        if function is not None:
            return self._register(function, options)
        return lambda target: self._register(target, options)

    def _register(self, function: Callable[..., Any], options: dict[str, Any]) -> JobFunction[..., Any, Any]:
        registry = REGISTRY if self._registry is None else self._registry
        return registry.register(function, fleet=self._fleet, **options)


def register_job_function(
    name: str, function: Callable[..., Any], **options: Unpack[RegisteredOptions]
) -> JobFunction[..., Any, Any]:
    """Register a function under a name that stays the same after a restart; the function may be a lambda.

    Args:
        name: The name on the wire.
        function: The function.
        options: See `job`.

    Raises:
        InvalidJob: An option is wrong, or another function has the name.
    """
    return REGISTRY.register(function, name=name, **options)


job: JobDecorator = JobDecorator()
