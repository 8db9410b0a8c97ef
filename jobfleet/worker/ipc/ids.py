"""Ids of workers and children. A child's id is never used again, so that its runs can be recovered after its death."""

from __future__ import annotations

import os
import re
import secrets
import socket


def new_worker_id() -> str:
    """Make an id ``host:pid:random`` of at most 48 characters, without the separators that scripts use."""
    host = re.sub(r"[^A-Za-z0-9-]", "-", socket.gethostname().partition(".")[0])[:24] or "host"
    return f"{host}:{os.getpid()}:{secrets.token_hex(3)}"
