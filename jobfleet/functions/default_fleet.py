"""The default fleet as job functions see it: who provides it, and the settings that a worker offers for it.

`jobfleet.fleet` provides it when it is imported; the package root arranges for that when it hands out ``job``.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from typing import TYPE_CHECKING, Any, Literal, Protocol, TypeVar

from jobfleet.config import JobConfig
from jobfleet.errors import ConfigError, nearest_frame
from jobfleet.model import Job

if TYPE_CHECKING:
    from jobfleet.handle._async.handle import AsyncJobHandle
    from jobfleet.handle._sync.handle import JobHandle


T = TypeVar("T")


class AwaitedFleet(Protocol):
    """What job functions need of an `AsyncFleet`."""

    @property
    def is_blocking(self) -> Literal[False]:
        """False: calls are awaited."""

    async def handle_of(self, job: Job[T]) -> AsyncJobHandle[T]:
        """Enqueue a job and return its handle."""

    def for_running_loop(self) -> AwaitedFleet:
        """Return the fleet for the event loop that runs."""


class BlockingFleet(Protocol):
    """What job functions need of a `Fleet`."""

    @property
    def is_blocking(self) -> Literal[True]:
        """True: calls block the thread."""

    @property
    def context(self) -> Any:
        """The `FleetContext`, for the built-in job functions; its type is in a higher layer."""

    @property
    def store(self) -> Any:
        """The `Store`, for the built-in job functions; its type is in another layer."""

    def handle_of(self, job: Job[T]) -> JobHandle[T]:
        """Enqueue a job and return its handle."""

    def for_running_loop(self) -> AwaitedFleet:
        """Return the fleet for the event loop that runs."""


AnyFleet = BlockingFleet | AwaitedFleet
_provider: Callable[[], BlockingFleet] | None = None
_offered: JobConfig | None = None


def provide_default_fleet(provider: Callable[[], BlockingFleet]) -> None:
    """Set what answers the default fleet.

    Args:
        provider: Called at each use; returns the `Fleet`.
    """
    global _provider  # noqa: PLW0603 - the one default of the process
    _provider = provider


def has_default_fleet() -> bool:
    """Whether anything provides a default fleet in this process."""
    return _provider is not None


def default_fleet() -> BlockingFleet:
    """The default fleet.

    Raises:
        ConfigError: Nothing provides one.
    """
    if _provider is None:
        raise ConfigError("There is no default fleet: call jobfleet.configure(url), or use fleet.job(...).")
    return _provider()


def offer_settings(config: JobConfig) -> None:
    """Say with which settings the default fleet is made if nobody chooses: a worker's jobs use the worker's Redis.

    Args:
        config: The worker's settings.
    """
    global _offered  # noqa: PLW0603 - as the default fleet itself
    _offered = config


def offered_settings() -> JobConfig | None:
    """The settings that were offered last; None where no worker has offered any."""
    return _offered


_loading: ContextVar[str] = ContextVar("jobfleet_loading", default="")


@contextmanager
def loading(module: str) -> Iterator[None]:
    """Mark the import of a module.

    Args:
        module: The name of the module.
    """
    token = _loading.set(module)
    try:
        yield
    finally:
        _loading.reset(token)


def check_not_loading() -> None:
    """Refuse to wait for a job during an import: the job would wait for the process that imports.

    Raises:
        ConfigError: A worker or a reaper is importing a module.
    """
    module = _loading.get()
    if module:
        raise ConfigError(
            f"{_line_of_import()} waits for a job while a worker loads {module!r}, and the worker runs no job before "
            "it has loaded its modules. Move the line into another file, or under if __name__ == '__main__'."
        )


def _line_of_import() -> str:
    """The line that is being imported, as ``FILE, line NUMBER``."""
    frame, _ = nearest_frame(lambda frame: frame.f_code.co_name == "<module>")
    return f"{frame.f_code.co_filename}, line {frame.f_lineno},"
