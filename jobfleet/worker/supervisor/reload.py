"""Reload for development: a change of Python code replaces all children. Needs the extra ``dev``."""

from __future__ import annotations

import logging
from collections.abc import AsyncIterator
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from jobfleet.errors import ConfigError
from jobfleet.worker.supervisor.children import Children

log = logging.getLogger("jobfleet.worker")
GRACE = 5.0
"""Maximum time in seconds for running jobs, because a developer waits for the change to take effect."""

SHOWN = 3


def check_reload() -> None:
    """Check that the file watcher is installed.

    Raises:
        ConfigError: It is not installed; the message names the extra.
    """
    if find_spec("watchfiles") is None:
        raise ConfigError("--reload needs watchfiles: pip install 'jobfleet[dev]'.")


class Reload:
    """Watches a folder of code.

    Args:
        folder: The folder, watched recursively. Hidden folders, virtual environments and caches are ignored.
        child_processes: The children.
        grace: Seconds that running jobs may take.
    """

    def __init__(self, folder: Path, child_processes: Children, *, grace: float) -> None:
        self._folder = folder.expanduser().resolve()
        self._child_processes = child_processes
        self._grace = min(grace, GRACE)

    async def watch(self) -> None:
        """Watch for changes until cancelled."""
        log.info("reload.watching folder=%s", self._folder)
        async for changes in self._changes():
            names = sorted({Path(path).name for _, path in changes})
            more = f" and {len(names) - SHOWN} more" if len(names) > SHOWN else ""
            log.info("reload.changed %s%s: replacing the children", ", ".join(names[:SHOWN]), more)
            for handle in self._child_processes.standing:
                self._child_processes.replace(handle, self._grace, is_fit=True)
            self._child_processes.scale(self._child_processes.size)  # restart children that broken code had ended

    def _changes(self) -> AsyncIterator[set[tuple[Any, str]]]:
        from watchfiles import PythonFilter, awatch

        return awatch(self._folder, watch_filter=PythonFilter(), debounce=400, step=50)
