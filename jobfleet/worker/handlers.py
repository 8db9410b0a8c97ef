"""From a function's name on the wire to what runs: handlers, looked up once and remembered."""

from __future__ import annotations

import difflib
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from types import ModuleType
from typing import Any

from jobfleet.client.registry import JobFunction, Registry, module_name
from jobfleet.config import JobConfig
from jobfleet.model import seconds
from jobfleet.retry import Policy, policy_of


@dataclass(slots=True)
class Handler:
    """A function as a worker runs it.

    Attributes:
        function: The job function.
        call: What is called.
        where: ``async`` for the child's event loop, ``thread`` for one of its threads, ``process`` for a process of
            its own, ``batch`` for where its jobs are gathered first.
        policy: What its jobs are allowed, unless they say otherwise themselves.
        timeout: Seconds a run may take; 0 for no limit.
        hard_timeout: Seconds after which it is ended by force; 0 for never.
        result_ttl_ms: How long a result is kept.
    """

    function: JobFunction[..., Any, Any]
    call: Callable[..., Any]
    where: str
    policy: Policy
    timeout: float
    hard_timeout: float
    result_ttl_ms: int


class UnknownFunction(LookupError):
    """This worker knows no function of that name."""


class Handlers:
    """All functions a worker can run, and what stands around every run.

    Args:
        registry: What is registered.
        modules: Loaded modules whose module-level functions may be run by their stable name.
        config: Where defaults stand.
    """

    def __init__(self, registry: Registry, modules: Iterable[ModuleType], config: JobConfig) -> None:
        self.registry = registry
        self._modules = {module_name(module.__name__): module for module in modules}
        self._config = config
        self._known: dict[str, Handler] = {}
        self.around = tuple(registry.around_run)
        self.hooks = registry.hooks

    @property
    def isolated(self) -> list[JobFunction[..., Any, Any]]:
        """The registered functions that have processes of their own."""
        return [function for function in self.registry.functions.values() if function.isolation is not None]

    @property
    def batched(self) -> list[JobFunction[..., Any, Any]]:
        """The registered functions that are given many jobs at once."""
        return [function for function in self.registry.functions.values() if function.batch is not None]

    def get(self, name: str) -> Handler:
        """The handler of a function.

        Raises:
            UnknownFunction: There is none.
        """
        handler = self._known.get(name)
        if handler is None:
            handler = self._known[name] = self._make(name)
        return handler

    def _make(self, name: str) -> Handler:
        function = self.registry.get(name) or self._from_module(name) or self._enqueued(name)
        if function is None:
            close = difflib.get_close_matches(name, list(self.registry.functions), n=1)
            hint = f"; did you mean {close[0]!r}?" if close else "."
            raise UnknownFunction(f"no worker knows {name!r}{hint}")
        return self._handler(function)

    def adopt(self, name: str, function: JobFunction[..., Any, Any]) -> Handler:
        """The handler of a function that was found elsewhere; it is known by that name from now on."""
        handler = self._known[name] = self._handler(function)
        return handler

    def _handler(self, function: JobFunction[..., Any, Any]) -> Handler:
        options, config = function.given, self._config
        policy = policy_of(options, config, retry_on=function.retry_on, discard_on=function.discard_on)
        ttl = options.get("result_ttl")
        timeout, hard = seconds(options.get("timeout") or 0.0, field="timeout"), options.get("hard_timeout")
        if hard is None and timeout:
            hard = timeout + config.hard_grace
        return Handler(
            function,
            function.function,
            where="batch" if function.batch is not None else function.run_in,
            policy=policy,
            timeout=timeout,
            hard_timeout=seconds(hard or 0.0, field="hard_timeout"),
            result_ttl_ms=round((config.result_ttl if ttl is None else float(ttl)) * 1000),
        )

    def _from_module(self, name: str) -> JobFunction[..., Any, Any] | None:
        """A module-level function of a module that this worker was given; nothing else is imported."""
        for prefix, module in self._modules.items():
            if not name.startswith(f"{prefix}."):
                continue
            found: Any = module
            for part in name.removeprefix(f"{prefix}.").split("."):
                found = getattr(found, part, None)
            if callable(found) and getattr(found, "__module__", None) == module.__name__:
                return JobFunction(found, name=name, options={})
        return None

    def _enqueued(self, name: str) -> JobFunction[..., Any, Any] | None:
        """A function that this very process has put into a job."""
        function = self.registry.enqueued.get(name)
        return JobFunction(function, name=name, options={}) if function is not None else None
