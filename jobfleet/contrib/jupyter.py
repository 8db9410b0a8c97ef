"""Jupyter: a handle at the end of a cell is a live progress bar. ``%load_ext jobfleet.contrib.jupyter`` switches it on.

It needs nothing but the notebook itself: the bar is HTML, which is displayed once and then updated in its place.
"""

from __future__ import annotations

import threading
import time
import warnings
from collections.abc import Callable
from contextlib import suppress
from dataclasses import replace
from functools import partial
from html import escape
from typing import Any, Protocol
from weakref import WeakKeyDictionary

from IPython.core.getipython import get_ipython
from IPython.display import DisplayHandle
from IPython.display import display as untyped_display

from jobfleet.errors import JobfleetError, JobNotFound, StoreUnavailable
from jobfleet.fleet.aio import AsyncFleet
from jobfleet.fleet.sync import Fleet
from jobfleet.handle._async.handle import AsyncJobHandle
from jobfleet.handle._sync.handle import JobHandle
from jobfleet.model import JobResult, JobStatus

POLL_FIRST, POLL_LAST = 0.25, 1.0
"""Seconds between two polls of a bar: while the job changes, and when it has not changed for long."""
PATIENCE = 1.0
"""Seconds for which a poll of an `AsyncJobHandle` waits for Redis: the first one is made while the cell runs."""
SLOWER = 1.25
"""The factor from one interval to the next while nothing changes."""
TEXT_MOST = 300
"""The most characters of a message or an error that a bar shows."""
AWAY = "Redis does not reply; the bar will continue."
GONE = "The job is not known any more."
_BLOCKS = r"enqueue(_many)? blocks the event loop"
"""A warning that does not matter here: a notebook has an event loop, on which nothing else waits."""
_BAR = (
    '<div style="font-family: sans-serif; font-size: 13px"><progress max="1" value="{value:.4f}" style="width: 240px;'
    ' vertical-align: middle" aria-label="{label}"></progress> <b>{label}</b> {text}</div>'
)

_followed: set[str] = set()
"""The ids of the jobs whose bars are updated."""

_twins: WeakKeyDictionary[AsyncFleet, Fleet] = WeakKeyDictionary()
"""For each fleet that awaits, one that blocks; it polls the jobs of bars."""

Poll = Callable[[], JobResult[Any]]
Bundle = dict[str, str]
_display: Callable[..., Any] = untyped_display


def load_ipython_extension(shell: Any) -> None:
    """Show handles as bars in this notebook. IPython calls it for ``%load_ext``."""
    formatter = shell.display_formatter.ipython_display_formatter
    formatter.for_type(JobHandle, show)
    formatter.for_type(AsyncJobHandle, show)
    warnings.filterwarnings("ignore", message=_BLOCKS, category=RuntimeWarning)


def unload_ipython_extension(shell: Any) -> None:
    """Show handles as text again. IPython calls it for ``%unload_ext``."""
    formatter = shell.display_formatter.ipython_display_formatter
    for kind in (JobHandle, AsyncJobHandle):
        with suppress(KeyError):
            formatter.pop(kind)


def show(handle: JobHandle[Any] | AsyncJobHandle[Any]) -> None:
    """Display the progress of a job as a bar, and update it until the job has ended. The call does not wait.

    On a terminal, the state of the job is printed once.

    Args:
        handle: The job.
    """
    poll = handle.poll if isinstance(handle, JobHandle) else _blocking_poll(handle)
    bundle, is_over = _looked(handle.id, poll)
    bar: Any = _display(bundle, raw=True, display_id=f"jobfleet-{handle.id}")
    has_updates = hasattr(get_ipython(), "kernel")
    if is_over or not has_updates or not isinstance(bar, DisplayHandle) or handle.id in _followed:
        return
    _followed.add(handle.id)
    threading.Thread(target=_follow, args=(handle.id, poll, bar), name="jobfleet-bar", daemon=True).start()


def _blocking_poll(handle: AsyncJobHandle[Any]) -> Poll:
    """A `poll` for threads, over connections of its own.

    Frontends such as nbclient drop the updates of a task: they belong to the cell that has started it, not to the cell
    that runs.
    """
    client: Any = handle._client  # noqa: SLF001 - the handle of another client has the same fleet
    twin = _twins.get(client)
    if twin is None:
        context = client.context
        config = replace(context.config, buffer=0, patience=min(PATIENCE, context.config.patience))
        twin = _twins[client] = Fleet.of(config, context.registry, target=client.store.at)
    return partial(twin.poll, handle.id)


class Bar(Protocol):
    """What was displayed, and can be updated; a `DisplayHandle`."""

    def update(self, obj: Bundle, *, raw: bool) -> None:
        """Display another state in its place."""


class _Updates:
    """The updates of one bar: what was shown, and when to look again."""

    def __init__(self, bar: Bar) -> None:
        self._bar = bar
        self._shown: Bundle = {}
        self.wait = POLL_FIRST

    def take(self, bundle: Bundle) -> None:
        """Show a state if it differs from the last one."""
        if bundle == self._shown:
            self.wait = min(POLL_LAST, self.wait * SLOWER)
            return
        self._shown, self.wait = bundle, POLL_FIRST
        self._bar.update(bundle, raw=True)


def _follow(job_id: str, poll: Poll, bar: Bar) -> None:
    updates = _Updates(bar)
    try:
        is_over = False
        while not is_over:
            time.sleep(updates.wait)
            bundle, is_over = _looked(job_id, poll)
            updates.take(bundle)
    finally:
        _followed.discard(job_id)


def _looked(job_id: str, poll: Poll) -> tuple[Bundle, bool]:
    try:
        return _of_job(poll())
    except JobfleetError as error:
        return _of_error(job_id, error)


def _of_job(job: JobResult[Any]) -> tuple[Bundle, bool]:
    text = job.progress_message
    if job.status.is_final:
        text = job.error_text if job.status is not JobStatus.COMPLETED else _took(job)
    elif job.cancel_requested_by is not None:
        text = f"{text} (asked to stop)"
    return _bundle(job.id, f"{job.function or job.name} {job.status}", job.progress, text), job.status.is_final


def _took(job: JobResult[Any]) -> str:
    return "" if job.duration is None else f"in {job.duration.total_seconds():.2f} s"


def _of_error(job_id: str, error: JobfleetError) -> tuple[Bundle, bool]:
    is_gone = isinstance(error, JobNotFound)
    text = GONE if is_gone else AWAY if isinstance(error, StoreUnavailable) else str(error)
    return _bundle(job_id, "unknown", 0.0, text), is_gone


def _bundle(job_id: str, label: str, value: float, text: str) -> Bundle:
    """A state in both forms: HTML for notebooks, and a line for terminals and for files that show no HTML."""
    cut = text if len(text) <= TEXT_MOST else f"{text[: TEXT_MOST - 1]}…"
    line = f"{value:.0%} {cut}".rstrip()
    return {
        "text/html": _BAR.format(value=value, label=escape(label), text=escape(line)),
        "text/plain": f"<{job_id}: {label} {line}>",
    }
