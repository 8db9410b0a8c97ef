"""Kinds of children: children that know the same functions and serve the same queues are of the same kind."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, Any, NamedTuple

if TYPE_CHECKING:
    from jobfleet.functions.registry import JobFunction

KIND_RULE = re.compile(r"[0-9a-f]{16}")
DEFAULT = "default"
"""The queue of functions that do not name one."""
IDLE = (
    "worker.idle it serves no queue, because its modules register no job function: decorate one with @job, "
    "or name queues with -Q (queues=)"
)


class Kind(NamedTuple):
    """The functions and queues that a child knows and serves.

    Attributes:
        id: A digest of `functions`.
        functions: Queue by function; under "" the queues that are served.
    """

    id: str
    functions: Mapping[str, str]


def kind_of(
    functions: Mapping[str, JobFunction[Any, Any, Any]], queues: Sequence[str], *, plain: Iterable[str] = ()
) -> Kind:
    """Return the kind of a child with these functions and queues.

    Args:
        functions: The registered functions.
        queues: The queues that the child serves.
        plain: The names of functions that run without registration.
    """
    known = dict.fromkeys(plain, DEFAULT)
    known |= {name: str(function.given.get("queue") or DEFAULT) for name, function in list(functions.items())}
    fields = {"": " ".join(sorted(queues)), **dict(sorted(known.items()))}
    digest = hashlib.sha256("\n".join(f"{name} {queue}" for name, queue in fields.items()).encode())
    return Kind(digest.hexdigest()[:16], fields)
