"""Tell apart jobs of a flow that have the same name: by their arguments, in a few words. Pure."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Sequence
from dataclasses import replace

from jobfleet.model import Job
from jobfleet.operations.flows.record import FlowJob

LONGEST = 60
VALUE_LONGEST = 24
_SECRET = re.compile(r"pass|secret|token|key|credential|auth", re.IGNORECASE)
_PLAIN = (str, int, float, bool, type(None))


def labelled(rows: Sequence[FlowJob], jobs: Sequence[Job]) -> list[FlowJob]:
    """Return the rows of a flow; those that share a name have their arguments as their label.

    Args:
        rows: The rows.
        jobs: The job of each row.
    """
    shared = Counter(row.name for row in rows)
    return [
        replace(row, label=label_of(job)) if shared[row.name] > 1 else row for row, job in zip(rows, jobs, strict=True)
    ]


def label_of(job: Job) -> str:
    """Return the arguments of a job as a short text; values under names of secrets are left out."""
    parts = [_shown(value) for value in job.args]
    parts += [f"{name}={'***' if _SECRET.search(name) else _shown(value)}" for name, value in job.kwargs.items()]
    return _cut(", ".join(parts), LONGEST)


def _shown(value: object) -> str:
    """A plain value as it is; of another value only the type, because its text may be long or costly."""
    if isinstance(value, str):
        return _cut(repr(value[: VALUE_LONGEST + 1]), VALUE_LONGEST)
    return repr(value) if type(value) in _PLAIN else type(value).__name__


def _cut(text: str, most: int) -> str:
    return text if len(text) <= most else text[: most - 1] + "…"
