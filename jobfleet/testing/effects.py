"""Effects: what a job does outside of Redis, and in which of its runs it did so."""

from __future__ import annotations

import inspect
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import wraps
from typing import Any, NamedTuple

from jobfleet.errors import InvalidJob
from jobfleet.testing.faults import Faults
from jobfleet.worker.run.run import Run
from jobfleet.worker.run.writes.current_run import CURRENT

OUTSIDE: tuple[str, int] = ("", 0)
"""The run of an effect that no job has had."""


class Effect(NamedTuple):
    """One effect.

    Attributes:
        name: Its name.
        key: Its idempotency key; None if it has none, so that each occurrence counts.
        job: The id of the job that has caused it; empty outside of jobs.
        attempt: The number of the run of that job, from 1, as the test has seen them; a run that was killed counts.
    """

    name: str
    key: object
    job: str
    attempt: int


class Effects:
    """The effects of a test, in order.

    Args:
        faults: The faults of the test; each effect is a kill point.

    Attributes:
        seen: The effects.
    """

    def __init__(self, faults: Faults) -> None:
        self.seen: list[Effect] = []
        self._faults = faults
        self._runs: dict[str, list[int]] = {}
        self._lock = threading.Lock()

    def add(self, name: str, key: object = None) -> None:
        """Record an effect of the job that runs here; a worker may be killed right after it."""
        job, attempt = OUTSIDE
        run = CURRENT.get()
        with self._lock:
            if isinstance(run, Run):
                tokens = self._runs.setdefault(run.id, [])
                if run.token not in tokens:
                    tokens.append(run.token)
                job, attempt = run.id, tokens.index(run.token) + 1
            self.seen.append(Effect(name, key, job, attempt))
        self._faults.reach(f"effect:{name}")

    def started(self, job_id: str, token: int) -> None:
        """Number a run."""
        with self._lock:
            tokens = self._runs.setdefault(job_id, [])
            if token not in tokens:
                tokens.append(token)

    def counts(self) -> dict[str, int]:
        """How often each effect happened; those with the same idempotency key count once."""
        keyed: set[tuple[str, object]] = set()
        counts: dict[str, int] = {}
        for effect in self.seen:
            mark = (effect.name, _hashable(effect.key))
            if effect.key is None or mark not in keyed:
                keyed.add(mark)
                counts[effect.name] = counts.get(effect.name, 0) + 1
        return counts

    def attempts(self, name: str) -> list[int]:
        """The runs in which an effect happened, in order, without repetition."""
        return sorted({effect.attempt for effect in self.seen if effect.name == name})

    @contextmanager
    def watched(self, owner: Any, name: str, key: str | None) -> Iterator[None]:
        """Record each call of a function within the block; see `Jobs.watch`."""
        is_own = name in vars(owner)
        original = vars(owner).get(name)  # a static method must be put back as such
        call: Callable[..., Any] = getattr(owner, name)
        parameters = () if key is None else inspect.signature(call).parameters
        if key is not None and key not in parameters:
            raise InvalidJob(
                f"key is {key!r:.100}, which is not a parameter of {name}; it has {', '.join(parameters) or 'none'}.",
                field="key",
            )
        setattr(owner, name, self._recording(call, name, key))
        try:
            yield
        finally:
            if is_own:
                setattr(owner, name, original)
            else:
                delattr(owner, name)

    def _recording(self, call: Callable[..., Any], name: str, key: str | None) -> Callable[..., Any]:
        def record(args: tuple[Any, ...], kwargs: dict[str, Any]) -> None:
            found = None if key is None else inspect.signature(call).bind(*args, **kwargs).arguments.get(key)
            self.add(name, found)

        if inspect.iscoroutinefunction(call):

            @wraps(call)
            async def awaited(*args: Any, **kwargs: Any) -> Any:
                value = await call(*args, **kwargs)
                record(args, kwargs)
                return value

            return awaited

        @wraps(call)
        def called(*args: Any, **kwargs: Any) -> Any:
            value = call(*args, **kwargs)
            record(args, kwargs)
            return value

        return called


def _hashable(key: object) -> object:
    try:
        hash(key)
    except TypeError:
        return repr(key)
    return key
