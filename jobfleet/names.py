"""The characters of which names and the parts of ids consist."""

from __future__ import annotations

import re
from functools import lru_cache

from jobfleet.errors import InvalidJob

QUEUE_RULE = re.compile(r"[A-Za-z0-9_-]{1,32}")
SUFFIX_RULE = re.compile(r"[A-Za-z0-9_.:-]{1,64}")
LANE_RULE = re.compile(r"[0-9]{1,4}")
LANES_MOST = 1024
"""Maximum number of lanes of a queue, in settings and as stored."""
NAME_RULE = re.compile(r"[A-Za-z0-9_.:-]{1,128}")

_function_name = lru_cache(maxsize=1024)(NAME_RULE.fullmatch)  # all jobs of a function have the same name


def check_queue(name: object, *, field: str = "queue") -> str:
    """Return a queue's name; raise `InvalidJob` if it is not valid."""
    if isinstance(name, str) and QUEUE_RULE.fullmatch(name):
        return name
    length = len(str(name))
    excess = f"; it has {length}" if length > 32 else ""
    raise InvalidJob(f"{field} is {name!r}; use 1 to 32 letters, digits, '_' or '-'{excess}.", field=field)


def check_function_name(name: object, *, field: str = "function") -> str:
    """Return a function's name; raise `InvalidJob` if it is not valid."""
    if isinstance(name, str) and _function_name(name):
        return name
    raise InvalidJob(f"{field} is {name!r}; use 1 to 128 letters, digits, '_', '.', ':' or '-'.", field=field)
