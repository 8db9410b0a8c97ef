"""Logs for people: one line a transition, on stderr."""

from __future__ import annotations

import logging
import sys

from jobfleet.config import JobConfig

FORMAT = "%(asctime)s %(levelname)-7s %(message)s"


def set_up_logs(config: JobConfig) -> None:
    """Log to stderr, unless the program has set up its own logs."""
    logger = logging.getLogger("jobfleet")
    if logger.handlers or logging.getLogger().handlers:
        return
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(logging.Formatter(FORMAT, datefmt="%H:%M:%S"))
    logger.addHandler(handler)
    logger.setLevel(logging.DEBUG if config.verbose else logging.INFO)
    logger.propagate = False
