"""The history of a chaos run: JSON lines, appended by every process that takes part.

Each line is one write, so a process that is killed leaves only whole lines. A reply that never came is `unknown`,
never `fail`: the request may have been executed.
"""

from __future__ import annotations

import json
import os
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Literal, NamedTuple

Kind = Literal["invoke", "ok", "fail", "unknown", "info"]
LINES = "history.jsonl"
NOTHING: Mapping[str, Any] = {}
CLOCK = 5 if "CHAOS_CLOCK" in os.environ else time.CLOCK_REALTIME
"""Under a shifted clock the coarse one, which is not shifted."""


class Record(NamedTuple):
    """One line of a history.

    Attributes:
        at: When it was written: seconds of this machine's wall clock, which no fault changes.
        process: Who wrote it: `producer-3`, `run-4711` (a job in a child), `nemesis` (the injector of faults).
        kind: `invoke` before an operation; then `ok`, `fail` or `unknown`. `info` for events without a beginning.
        op: The operation.
        id: The job, if there is one.
        token: The fencing token of the run, if there is one.
        value: What was requested or answered.
    """

    at: float
    process: str
    kind: Kind
    op: str
    id: str = ""
    token: int = 0
    value: Mapping[str, Any] = NOTHING


class Recorder:
    """Appends to the history of a folder.

    Args:
        folder: The folder of the run.
        process: Who writes.
    """

    def __init__(self, folder: Path, process: str) -> None:
        self._process = process
        self._descriptor = os.open(folder / LINES, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o600)

    def note(self, kind: Kind, op: str, job_id: str = "", token: int = 0, **value: Any) -> None:
        """Append one line."""
        line = [time.clock_gettime(CLOCK), self._process, kind, op, job_id, token, value]
        os.write(self._descriptor, json.dumps(line, default=str).encode() + b"\n")

    def close(self) -> None:
        """Close the file."""
        os.close(self._descriptor)


def read_history(folder: Path) -> list[Record]:
    """All records of a run in the order in which they were written."""
    path = folder / LINES
    if not path.exists():
        return []
    whole = path.read_text().rpartition("\n")[0]  # the last line may be in the middle of its write
    return [Record(*json.loads(line)) for line in whole.splitlines() if line.endswith("]")]
