"""Reload: a change of Python code replaces all children, for those who write jobs. Needs the extra ``dev``."""

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
"""Seconds that running jobs may take to end at most: somebody waits to see the change."""

SHOWN = 3


def check_reload() -> None:
    """See that the watcher is there.

    Raises:
        ConfigError: It is not; names the extra.
    """
    if find_spec("watchfiles") is None:
        raise ConfigError("--reload needs watchfiles: pip install 'jobfleet[dev]'.")


class Reload:
    """Watches a folder of code.

    Args:
        folder: Where; below it, too. Hidden folders, virtual environments and caches are passed over.
        nursery: The children.
        grace: Seconds that running jobs may take to end.
    """

    def __init__(self, folder: Path, child_processes: Children, *, grace: float) -> None:
        self._folder = folder.expanduser().resolve()
        self._child_processes = child_processes
        self._grace = min(grace, GRACE)

    async def watch(self) -> None:
        """Watch for ever."""
        log.info("reload.watching folder=%s", self._folder)
        async for changes in self._changes():
            names = sorted({Path(path).name for _, path in changes})
            more = f" and {len(names) - SHOWN} more" if len(names) > SHOWN else ""
            log.info("reload.changed %s%s: replacing the children", ", ".join(names[:SHOWN]), more)
            for handle in self._child_processes.standing:
                self._child_processes.replace(handle, self._grace, is_fit=True)
            self._child_processes.scale(self._child_processes.size)  # where broken code has left a place empty

    def _changes(self) -> AsyncIterator[set[tuple[Any, str]]]:
        from watchfiles import PythonFilter, awatch

        return awatch(self._folder, watch_filter=PythonFilter(), debounce=400, step=50)
