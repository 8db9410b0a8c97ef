"""A module that loads in a worker, and in no process of its own."""

from __future__ import annotations

import sys

from jobfleet import job

if "isolated" in sys.argv[0]:
    raise RuntimeError("only in the worker")


@job(name="half.one", run_in="process", retry_delay=0.05)
def one(number: int) -> int:
    """Answer the number."""
    return number
