"""Kinds of children: those that know the same functions and serve the same queues are of one kind."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, Any, NamedTuple

if TYPE_CHECKING:
    from jobfleet.functions.registry import JobFunction

KIND_RULE = re.compile(r"[0-9a-f]{16}")
DEFAULT = "default"
"""The queue of functions that name none."""
IDLE = (
    "worker.idle it serves no queue, since its modules register no job function: decorate one with @job, "
    "or name queues with -Q (queues=)"
)


class Kind(NamedTuple):
    """What children know and serve.

    Attributes:
        id: The same wherever that is the same.
        functions: Each function with its queue, and under "" the queues that are served.
    """

    id: str
    functions: Mapping[str, str]


def kind_of(
    functions: Mapping[str, JobFunction[Any, Any, Any]], queues: Sequence[str], *, plain: Iterable[str] = ()
) -> Kind:
    """The kind of a child that knows these functions and serves these queues.

    Args:
        functions: What is registered.
        queues: What is served.
        plain: The names of functions that are not registered, and run here all the same.
    """
    known = dict.fromkeys(plain, DEFAULT)
    known |= {name: str(function.given.get("queue") or DEFAULT) for name, function in list(functions.items())}
    told = {"": " ".join(sorted(queues)), **dict(sorted(known.items()))}
    digest = hashlib.sha256("\n".join(f"{name} {queue}" for name, queue in told.items()).encode())
    return Kind(digest.hexdigest()[:16], told)
