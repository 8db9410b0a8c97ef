"""Messages to supervisors; each is one line of text. Pure.

On the channel ``control``, cancel.lua publishes ``cancel <job> <token> <child> <by>``, and know.lua ``kinds``. On the
channel ``commands``, to which only operators may publish, each line is a command to one worker: ``<verb> <worker>
<nonce> <by> <value>``, with ``-`` for a missing value. A message can be lost or delivered twice. Therefore the sender
repeats a command, and the receiver recognizes its nonce.
"""

from __future__ import annotations

import re
from typing import NamedTuple

from jobfleet.model.audit import NOBODY, from_word, to_word

VERBS = ("quiet", "resume", "stop", "dump", "scale")
STACKS = "stacks"
"""Asks for the stacks of a child; unlike the other verbs, it gets an answer."""

_CANCEL = re.compile(r"^cancel (\S+) ([0-9]{1,17}) (\S+) (\S+)$")
_COMMAND = re.compile(
    rf"^({'|'.join((*VERBS, STACKS))}) (\S+) ([0-9a-f]{{1,32}}) (\S+) (-|[0-9]{{1,12}}(?:\.[0-9]{{1,6}})?)$"
)


class CancelRequest(NamedTuple):
    """A request to cancel a running job.

    Attributes:
        job: The job's id.
        token: The fencing token of the run.
        child: The worker process that runs the job.
        by: Who requested the cancellation.
    """

    job: str
    token: int
    child: str
    by: str


class NewKind(NamedTuple):
    """A new worker knows a function, or serves a queue, that no live worker did before."""


class Command(NamedTuple):
    """An operator's command to a worker.

    Attributes:
        verb: One of `VERBS`, or `STACKS`.
        worker: The worker's id.
        nonce: A hexadecimal text; the same in every repetition.
        by: Who sent the command; `NOBODY` if unknown.
        value: For ``scale`` the number of processes, for ``stop`` the seconds of grace, for ``stacks`` the number
            of the child; None if not given.
    """

    verb: str
    worker: str
    nonce: str
    by: str = NOBODY
    value: float | None = None

    def line(self) -> str:
        """Format the message."""
        by = NOBODY if self.by == NOBODY else to_word(self.by)
        value = NOBODY if self.value is None else f"{self.value:.6f}".rstrip("0").rstrip(".")
        return f"{self.verb} {self.worker} {self.nonce} {by} {value}"


def read_control(message: str) -> CancelRequest | Command | NewKind | None:
    """Parse a message of either channel; return None for a message of a later version."""
    if message == "kinds":
        return NewKind()
    if found := _CANCEL.match(message):
        return CancelRequest(found[1], int(found[2]), found[3], from_word(found[4]))
    if found := _COMMAND.match(message):
        value = None if found[5] == NOBODY else float(found[5])
        return Command(found[1], found[2], found[3], from_word(found[4]), value)
    return None
