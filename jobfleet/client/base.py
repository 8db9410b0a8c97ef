"""The common base of the two clients: settings, names, recorder, and the schedule of a wait."""

from __future__ import annotations

import threading
from collections.abc import Iterable
from typing import Protocol, Unpack

from jobfleet.client.archive_fallback import ArchiveFallback
from jobfleet.clock import monotonic
from jobfleet.config import JobConfig, load
from jobfleet.config.argument_types import FleetSettings
from jobfleet.errors import InvalidJob
from jobfleet.functions.hooks import Hooks
from jobfleet.functions.registry import REGISTRY, Registry
from jobfleet.model.option_types import Seconds
from jobfleet.model.options import seconds
from jobfleet.operations.fleet_context import FleetContext
from jobfleet.store.server.connect import Target
from jobfleet.store.server.connect import target as target_of
from jobfleet.store.trip import Recorder

WARN_AFTER = 3.0
MARK_EVERY = 30.0


class ClientRecorder(Recorder, Protocol):
    """Receives what a client counts."""

    def counted(self, operation: str, by: int) -> None:
        """Count jobs of an operation, which is named in the past tense: ``enqueued``."""


def open_settings(url: str | None, namespace: str | None, settings: FleetSettings) -> JobConfig:
    """Load the settings of a client: arguments, else variables, else files, else defaults."""
    given = {"url": url, "namespace": namespace, **settings}
    return load({name: value for name, value in given.items() if value is not None}).config


class ClientBase:
    """A client's settings, names and recorder; `Fleet` describes the arguments."""

    def __init__(
        self,
        url: str | None = None,
        namespace: str | None = None,
        *,
        registry: Registry | None = None,
        **settings: Unpack[FleetSettings],
    ) -> None:
        self._set_up(open_settings(url, namespace, settings), registry)

    def _set_up(
        self,
        config: JobConfig,
        registry: Registry | None,
        *,
        target: Target | None = None,
        recorder: ClientRecorder | None = None,
    ) -> None:
        """Set the attributes; a client with another client's server and recorder is given both."""
        self.context: FleetContext = FleetContext(config, registry if registry is not None else REGISTRY)
        self.target: Target | None = target
        self._owns_target = target is None
        self.recorder: ClientRecorder | None = recorder
        self._archived = ArchiveFallback(self.context)
        self._opening = threading.Lock()

    @property
    def config(self) -> JobConfig:
        """The settings."""
        return self.context.config

    @property
    def hooks(self) -> Hooks:
        """The hooks that run before, after and around its functions."""
        return self.context.registry.hooks

    def counted(self, operation: str, by: int) -> None:
        """Pass a count to the recorder, if there is one."""
        if self.recorder is not None:
            self.recorder.counted(operation, by)

    def _open_target(self) -> Target:
        """Return where Redis is; for ``embedded://``, start the server if none runs."""
        if self.target is None:
            self.target = target_of(self.context.config.url, warns=True)
        return self.target

    def _close_target(self) -> None:
        """End the server if ``embedded://`` started one for this client; let the archive go."""
        if self.target is not None and self._owns_target:
            self.target.close()
            self.target = None
        self._archived.close()

    def __repr__(self) -> str:
        from jobfleet.config import mask_url

        return f"<{type(self).__name__} {mask_url(self.config.url)} {self.config.namespace!r}>"


class PollSchedule:
    """How long a wait lasts, and how often it polls while no message comes.

    Args:
        config: Has the first and the longest pause.
        timeout: Time limit in seconds; None for no limit.

    Raises:
        InvalidJob: The timeout is not a duration.
    """

    def __init__(self, config: JobConfig, timeout: Seconds | None) -> None:
        self._pause = config.wait_poll_min
        self._longest = config.wait_poll_max
        self.timeout: float | None = None if timeout is None else seconds(timeout, field="timeout")
        self._deadline = None if self.timeout is None else monotonic() + self.timeout
        self._mark_at = 0.0
        self._warn_at: float | None = monotonic() + WARN_AFTER

    @property
    def is_over(self) -> bool:
        """Whether the time is up."""
        return self._deadline is not None and monotonic() >= self._deadline

    @property
    def should_warn(self) -> bool:
        """Whether it is time to check that a worker serves the queue; true once."""
        if self._warn_at is None or monotonic() < self._warn_at:
            return False
        self._warn_at = None
        return True

    @property
    def should_mark(self) -> bool:
        """Whether it is time to mark again that a client listens."""
        if monotonic() < self._mark_at:
            return False
        self._mark_at = monotonic() + MARK_EVERY
        return True

    def next(self) -> float:
        """Seconds to wait for a message."""
        pause, self._pause = self._pause, min(self._longest, self._pause * 2)
        return pause if self._deadline is None else max(0.001, min(pause, self._deadline - monotonic()))


def check_many(jobs: object, chunk: object) -> None:
    """Refuse what `enqueue_many` cannot take.

    Raises:
        InvalidJob: `jobs` is not iterable, or `chunk` is not a whole number.
    """
    if isinstance(jobs, str) or not isinstance(jobs, Iterable):
        raise InvalidJob(f"jobs is {jobs!r:.100}; give an iterable of Jobs.", field="jobs")
    if isinstance(chunk, bool) or not isinstance(chunk, int):
        raise InvalidJob(f"chunk is {chunk!r:.100}; give a whole number.", field="chunk")
