"""A module whose loading waits for a gate, as that of a large application waits for the disk."""

from __future__ import annotations

import os
import time
from pathlib import Path

from jobfleet import job

FOLDER = Path(os.environ["JOBFLEET_TEST_FOLDER"])

(FOLDER / f"loading-{os.getpid()}").touch()
while not (FOLDER / "gate").exists():
    time.sleep(0.02)


@job(name="slow.nothing")
async def nothing() -> None:
    """Do nothing."""
