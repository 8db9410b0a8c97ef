"""What this version of jobfleet can do, for tests that were written before it could."""

from __future__ import annotations

from importlib.util import find_spec

import pytest

from jobfleet import InvalidJob
from jobfleet.client.registry import Registry


def _runs_in_processes() -> bool:
    try:
        Registry().register(_runs_in_processes, name="trial", run_in="process")
    except InvalidJob:
        return False
    return True


needs_processes = pytest.mark.skipif(not _runs_in_processes(), reason="run_in='process' is not there yet")
needs_ladder = pytest.mark.skipif(find_spec("jobfleet.worker.ladder") is None, reason="hard_timeout is not there yet")
needs_hangs = pytest.mark.skipif(find_spec("jobfleet.worker.hang") is None, reason="hang_after is not there yet")
