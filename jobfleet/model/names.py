"""The names of queues and functions, and the parts of ids: their characters, and the name that was probably meant."""

from __future__ import annotations

import re
from collections.abc import Iterable
from difflib import get_close_matches
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


_SEPARATOR = re.compile(r"[-_.:]+")
_DIGITS = re.compile(r"\d+")


def similar_function(name: str, known: Iterable[str]) -> str | None:
    """Return the known function whose name resembles `name`; None if there is none.

    Functions of one module have a long common beginning, so that only their last parts are compared.
    """
    module, _, last = name.rpartition(".")
    others = sorted(one for one in known if one != name)
    beside = {one.rpartition(".")[2]: one for one in others if one.rpartition(".")[0] == module}
    if close := _close(last, beside, 0.6):
        return beside[close]
    namesakes = [one for one in others if one.rpartition(".")[2] == last]
    return _close(name, namesakes, 0.6) or _close(name, others, 0.8)


def similar_queue(queue: str, known: Iterable[str]) -> str | None:
    """Return the known queue whose name resembles `queue`; None if there is none, or if that is `queue` itself.

    ``shard-1`` and ``shard-2``, or ``reports-eu`` and ``reports-us``, are names of a series: they do not resemble.
    """
    names = sorted(known)
    if queue in names:
        return None
    close = get_close_matches(queue, names, n=5, cutoff=0.7)
    return next((one for one in close if _is_misspelt(queue, one)), None)


def _is_misspelt(queue: str, meant: str) -> bool:
    if _DIGITS.sub("", queue) == _DIGITS.sub("", meant):
        return False
    given, wanted = _SEPARATOR.split(queue), _SEPARATOR.split(meant)
    if len(given) != len(wanted):
        return _close("".join(given), ["".join(wanted)], 0.9) is not None
    return all(_close(one, [other], 0.75) is not None for one, other in zip(given, wanted, strict=True))


def _close(name: str, known: Iterable[str], cutoff: float) -> str | None:
    return next(iter(get_close_matches(name, list(known), n=1, cutoff=cutoff)), None)
