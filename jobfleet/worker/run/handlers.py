"""Finds the function for a name: handlers are looked up once and cached.

Any client that can write to Redis chooses these names, so a name finds registered functions only. The setting
`allow_undecorated` adds the public functions that a loaded module defines. Attributes are not followed.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from types import FunctionType, MappingProxyType, ModuleType
from typing import Any

from jobfleet.clock import wall_us
from jobfleet.codec import decode, header_or_empty
from jobfleet.config import JobConfig
from jobfleet.errors import InvalidJob
from jobfleet.functions.callables import CLEANUP, UNDO, is_own, module_name
from jobfleet.functions.context import JobContext
from jobfleet.functions.options import KEEP_ARGS
from jobfleet.functions.registry import JobFunction, Registry
from jobfleet.functions.steps import STEP, UNDOS
from jobfleet.functions.steps import UNDO as UNDO_PREFIX
from jobfleet.model import seconds
from jobfleet.model.names import NAME_RULE, similar_function
from jobfleet.model.signals import Snooze
from jobfleet.model.spec import split_id
from jobfleet.retry.decision import Policy, policy_of

log = logging.getLogger("jobfleet.worker")

HERE = ("async", "thread")
"""Where functions run in the process of the child, and suspects in a quarantine process."""
KNOWN_MOST = 1024
"""The maximal number of cached handlers."""
_NONE: Mapping[str, Callable[..., Any]] = MappingProxyType({})


@dataclass(slots=True, eq=False)
class Handler:
    """A function as a worker runs it.

    Attributes:
        function: The job function.
        call: What is called.
        where: ``async`` for the child's event loop, ``thread`` for one of its threads, ``process`` for an isolated
            process, ``batch`` for a batch.
        policy: The retry policy of its jobs. A job may override it.
        timeout: The soft time limit in seconds; 0 for none.
        hard_timeout: The hard time limit in seconds; 0 for none.
        result_ttl_ms: How long a result is kept.
        version: The version of its arguments.
        keeps_args: Whether the arguments of a completed job stay with its result.
        is_plain: Whether the function is called with its arguments alone: it asks for no context and no resources.
        functions: All registered functions, for the results of parents.
    """

    function: JobFunction[..., Any, Any]
    call: Callable[..., Any]
    where: str
    policy: Policy
    timeout: float
    hard_timeout: float
    result_ttl_ms: int
    version: int = 1
    keeps_args: bool = False
    is_plain: bool = False
    functions: Mapping[str, JobFunction[..., Any, Any]] = field(default_factory=dict)


class UnknownFunction(LookupError):
    """This worker does not know a function of that name."""


class Handlers:
    """All functions that a worker can run, and the hooks and middleware around each run.

    Args:
        registry: The registered functions.
        modules: The loaded modules. With the setting `allow_undecorated` their public functions may be run by name.
        config: Has the defaults.
        own: The functions that the calling program has enqueued itself, by name, for a worker in that program.
    """

    def __init__(
        self,
        registry: Registry,
        modules: Iterable[ModuleType],
        config: JobConfig,
        *,
        own: Mapping[str, Callable[..., Any]] = _NONE,
    ) -> None:
        self.registry = registry
        self._modules = {module_name(module.__name__): module for module in modules}
        self._config = config
        self._own = own
        self._handlers: dict[str, Handler] = {}
        self.around = tuple(registry.around_run)
        self.hooks = registry.hooks

    @property
    def undecorated(self) -> list[str]:
        """The modules whose public functions are run without registration."""
        return sorted(self._modules) if self._config.allow_undecorated else []

    @property
    def isolated(self) -> list[JobFunction[..., Any, Any]]:
        """The registered functions that run in isolated processes."""
        return [function for function in self.registry.functions.values() if function.isolation is not None]

    @property
    def batched(self) -> list[JobFunction[..., Any, Any]]:
        """The registered functions that run batches."""
        return [function for function in self.registry.functions.values() if function.batch is not None]

    def get(self, name: str) -> Handler:
        """The handler of a function.

        Raises:
            UnknownFunction: No function has that name.
        """
        handler = self._handlers.get(name)
        return handler if handler is not None else self.adopt(name, self._find(name))

    def knows(self, name: str) -> bool:
        """Whether a function of that name can run here."""
        if self._registered(name) is not None or name in self._own or name in self._handlers:
            return True
        return self._config.allow_undecorated and self._defined(name) is not None

    def peek(self, envelope: bytes) -> Handler | None:
        """The handler of a job that was not opened yet; None if the job cannot run."""
        try:
            return self.get(header_or_empty(envelope)["function"])
        except (UnknownFunction, KeyError, TypeError):
            return None

    def adopt(self, name: str, function: JobFunction[..., Any, Any]) -> Handler:
        """Create and cache the handler of a function."""
        if len(self._handlers) >= KNOWN_MOST:
            del self._handlers[next(iter(self._handlers))]
        handler = self._handlers[name] = self._handler(function)
        return handler

    def _find(self, name: str) -> JobFunction[..., Any, Any]:
        if not NAME_RULE.fullmatch(name):
            raise UnknownFunction(f"{name!r:.100} is not the name of a function.")
        function = self._registered(name)
        if function is not None:
            return function
        plain = self._own.get(name) or self._defined(name)
        if plain is None:
            meant = similar_function(name, self.registry.functions)
            hint = f"; did you mean {meant!r}?" if meant else "."
            raise UnknownFunction(f"no worker knows {name!r}{hint}")
        if name not in self._own and not self._config.allow_undecorated:
            raise UnknownFunction(
                f"{name!r} is a function of this worker's modules, but it is not registered: decorate it with @job or "
                f"call register_job_function({name!r}, …); allow_undecorated = true runs it as it is."
            )
        return JobFunction(plain, name=name, options={})

    def _registered(self, name: str) -> JobFunction[..., Any, Any] | None:
        """The function that is registered under a name, or built in."""
        found = self.registry.get(name)
        if found is None and name == CLEANUP:
            from jobfleet.services.cleanup import built_in  # for those who use it

            return built_in()
        if found is None and name == UNDO:
            return undoing(self._undo_function)
        return found

    def _undo_function(self, name: str) -> Callable[..., Any] | None:
        """A function that undoes a step: a registered one, or one with `undo`. None is jobfleet's own."""
        registered = self.registry.get(name)
        found = registered.function if registered is not None else UNDOS.get(name)
        return None if found is None or is_own(found) else found

    def _handler(self, function: JobFunction[..., Any, Any]) -> Handler:
        options, config = function.given, self._config
        policy = policy_of(
            options, config, retry_on=function.retry_on, discard_on=function.discard_on, delay_of=function.delay_of
        )
        ttl = options.get("result_ttl")
        timeout, hard = seconds(options.get("timeout") or 0.0, field="timeout"), options.get("hard_timeout")
        if hard is None and timeout:
            hard = timeout + config.hard_grace
        return Handler(
            function,
            self.registry.wrapped(calling(function)),
            where="batch" if function.batch is not None else function.run_in,
            policy=policy,
            timeout=timeout,
            hard_timeout=seconds(hard or 0.0, field="hard_timeout"),
            result_ttl_ms=round((config.result_ttl if ttl is None else float(ttl)) * 1000),
            version=function.schema.version,
            keeps_args=options.get(KEEP_ARGS, config.keep_args),
            is_plain=function.injection.is_none,
            functions=self.registry.functions,
        )

    def _defined(self, name: str) -> Callable[..., Any] | None:
        """The public function of that name, if a module of this worker defines it."""
        prefix, _, own_name = name.rpartition(".")
        module = self._modules.get(prefix)
        found = vars(module).get(own_name) if module is not None else None
        if module is None or type(found) is not FunctionType or own_name.startswith("_") or is_own(found):
            return None
        return found if (found.__module__, found.__qualname__) == (module.__name__, own_name) else None


# Calls functions with typed arguments: rebuilds the arguments before the call, and dumps the result after it.


def calling(function: JobFunction[..., Any, Any]) -> Callable[..., Any]:
    """What a worker calls for a function. It converts where the function runs: in its thread, loop or process.

    A batch has many runs per call, so its executor converts.
    """
    typed, code = function.typed, function.function
    if typed is None or function.batch is not None or typed.table.is_empty:
        return code
    given = 1 if function.injection.context_first else 0

    def call(*args: Any, **kwargs: Any) -> Any:
        args, kwargs = typed.load(args, kwargs, given)  # type: ignore[assignment]
        return typed.dump_result(code(*args, **kwargs))

    async def call_and_await(*args: Any, **kwargs: Any) -> Any:
        args, kwargs = typed.load(args, kwargs, given)  # type: ignore[assignment]
        return typed.dump_result(await code(*args, **kwargs))

    return call_and_await if function.is_coroutine else call


# `jobfleet.undo`: a job that undoes the steps of another job, which has failed or was cancelled.
#
# It waits for that job as a callback does, so it is started once, also if the process that ended the job dies. Each
# undo is a step of this job, so it survives the end of its worker. What is undone is deleted from the steps of the
# other job: a replay repeats it.
#
# Anybody who may enqueue can name this function. So it undoes nothing unless the steps of the other job name this
# very job; a run of that job has stored that, and a producer may not write steps (docs/adr/0066).


OPEN_AGAIN = 30.0
"""Seconds until the next look at a job that was replayed before all its steps were undone."""
ELSEWHERE = 1.0
"""Seconds until another worker may have claimed an undo whose function this one does not have."""
GRACE_US = 86_400_000_000
"""µs for which an undo waits for a worker that has its function."""
ACCEPTED = "accepted"
"""The checkpoint of an undo whose job was found in the steps of the other one, which are deleted at its end."""
Find = Callable[[str], Callable[..., Any] | None]


def undoing(find: Find) -> JobFunction[..., Any, Any]:
    """The job function.

    Args:
        find: Returns the function with a name; None if this worker does not have it.
    """
    warned: set[str] = set()

    async def undo(ctx: JobContext, job_id: str) -> list[str]:
        """Undo the steps of a job in reverse order; return their keys."""

        async def dropped(*names: str) -> Mapping[str, bytes]:
            left = await ctx.port.undo(job_id, names)
            if left is None:
                raise Snooze(OPEN_AGAIN)
            return left

        async def missing(key: str, function: str) -> None:
            """Leave the undo to a worker that has the function, as with any other unknown function."""
            text = f"Step {key!r} of {job_id} is undone by {function!r}, which this worker does not have"
            if wall_us() - await ctx.step(f"{key[:180]} missing", wall_us) > GRACE_US:
                raise RuntimeError(f"{text}, nor has another one. Load its module, then replay this job.")
            if function not in warned:
                warned.add(function)
                log.warning("undo.left job_id=%s %s. Another worker must load its module.", ctx.job_id, text)

        kept = await dropped()
        if not kept:  # it was replayed, and has completed
            return []
        if not await ctx.checkpoint(ACCEPTED, default=False):
            own, suffix = split_id(ctx.job_id), decode(kept[UNDO_PREFIX], what="undo") if UNDO_PREFIX in kept else None
            if (own.queue, own.suffix) != (split_id(job_id).queue, suffix):
                text = f"{job_id} has no steps that {ctx.job_id} undoes; only a run with such steps enqueues {UNDO!r}."
                raise InvalidJob(text, field="function")
            await ctx.checkpoint(ACCEPTED, True)
        rows = {
            name: decode(kept[name], what="undo") for name in kept if name[:2] == UNDO_PREFIX and name != UNDO_PREFIX
        }
        for name in sorted(rows, key=lambda name: -rows[name][0]):
            _, mark, function, args, kwargs = rows[name]
            key = name.removeprefix(UNDO_PREFIX)
            await dropped(STEP + key)
            call = find(function)
            if call is None:
                await missing(key, function)
                raise Snooze(ELSEWHERE)
            await ctx.step(f"{key[:180]} {mark}", call, *args, **kwargs)
            await dropped(name)
        await dropped(UNDO_PREFIX)
        return [name.removeprefix(UNDO_PREFIX) for name in rows]

    return JobFunction(undo, name=UNDO, options={})
