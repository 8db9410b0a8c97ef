"""Faults on purpose, for staging: a child with ``--chaos`` loses replies of Redis, and kills itself.

It watches the exchanges of its store. A reply of a claim, a settle or a step is lost after Redis has executed the call,
as if the connection had broken. A child dies before or after it settles a job. It reports each fault first.
"""

from __future__ import annotations

import os
import random
import signal
from collections.abc import Callable, Sequence
from typing import Any

from jobfleet.store.call import Command
from jobfleet.store.link.watched import script_of

KILL = "kill"
CALLS: frozenset[str] = frozenset(("claim", "settle", "keep"))
"""The scripts whose replies may be lost."""
IDS_DUE = 5
"""The place of the ids in the reply to a claim."""
Report = Callable[[str, list[str]], None]


class Chaos:
    """Injects the faults of one child.

    Args:
        rate: The share of settled jobs whose child is killed, and of calls whose reply is lost.
        seed: Chooses them; with the child's id it gives the same choices again. 0 for others each time.
        child: The id of the child.
        held: Returns the ids of the jobs that the child holds; they die with it.
        report: Called with the kind of each fault, and the ids of its jobs, before it happens.
    """

    def __init__(self, rate: float, seed: int, *, child: str, held: Callable[[], list[str]], report: Report) -> None:
        self._rate = rate
        self._held = held
        self._report = report
        number = child.rpartition(".")[2]
        self._random = random.Random(f"{seed}.{number}" if seed else None)

    def sending(self, commands: Sequence[Command]) -> Sequence[Command]:
        """Kill the child before it settles its jobs."""
        settled = _jobs(commands, "settle")
        if settled and self._random.random() < self._share(len(settled)) / 2:
            self._kill()
        return commands

    def received(self, commands: Sequence[Command], replies: list[Any]) -> list[Any]:
        """Kill the child after it has settled its jobs, or lose a reply."""
        settled = _jobs(commands, "settle")
        if settled and self._random.random() < self._share(len(settled)) / 2:
            self._kill()
        for number, (command, reply) in enumerate(zip(commands, replies, strict=True)):
            script = script_of(command)
            if script is None or script.name not in CALLS or isinstance(reply, BaseException):
                continue
            ids = _granted(reply) if script.name == "claim" else _jobs((command,), script.name)
            if ids and self._random.random() < self._rate:
                self._report(script.name, ids)
                error = ConnectionError(f"--chaos has lost the reply to {script.name}")
                return [*replies[:number], *[error] * (len(replies) - number)]  # the connection is gone
        return replies

    def _share(self, jobs: int) -> float:
        """The probability that at least one of several jobs loses its process."""
        return float(1 - (1 - self._rate) ** jobs)

    def _kill(self) -> None:
        self._report(KILL, self._held())
        os.kill(os.getpid(), signal.SIGKILL)


def _jobs(commands: Sequence[Command], name: str) -> list[str]:
    """The ids of the jobs of the calls of a script."""
    ids: dict[str, None] = {}
    for command in commands:
        script = script_of(command)
        if script is None or script.name != name or command[0] == "SCRIPT":
            continue
        keys = command[3 : 3 + int(command[2])]
        for key in keys:
            text = key.decode(errors="replace") if isinstance(key, bytes) else str(key)
            for part in ("}:job:", "}:steps:"):
                _, found, job_id = text.partition(part)
                if found:
                    ids[job_id] = None
    return list(ids)


def _granted(reply: Any) -> list[str]:
    """The ids of the jobs that a claim was granted."""
    if not isinstance(reply, list) or reply[0] not in (b"claimed", b"guarded"):
        return []
    return [raw.decode(errors="replace") for raw in bytes(reply[IDS_DUE]).split()[::2]]
