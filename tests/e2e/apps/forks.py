"""A job that forks its worker's own process."""

from __future__ import annotations

import os
import time
from pathlib import Path

from jobfleet import job


@job(name="forks.fork")
def fork(path: str) -> None:
    """Fork; the fork keeps the descriptors of the process for a minute."""
    if (pid := os.fork()) == 0:
        time.sleep(60)
        os._exit(0)
    Path(path).write_text(str(pid))
