"""Ids of workers and children. A child's id is never used again, so that a dead one can be buried."""

from __future__ import annotations

import os
import re
import secrets
import socket


def new_worker_id() -> str:
    """``host:pid:random``, at most 48 characters, none of which scripts use as separators."""
    host = re.sub(r"[^A-Za-z0-9-]", "-", socket.gethostname().partition(".")[0])[:24] or "host"
    return f"{host}:{os.getpid()}:{secrets.token_hex(3)}"
