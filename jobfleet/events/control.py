"""Messages on the control channel, one line of text each. Pure.

``cancel <job> <token> <child> <by>`` comes from cancel.lua, ``kinds`` from know.lua; every other line is an operator's
command to one worker: ``<verb> <worker> <nonce> <by> <value>``, with ``-`` for what is not given. Messages may be
lost, and come twice: whoever sends repeats, whoever obeys knows the nonce.
"""

from __future__ import annotations

import re
from typing import NamedTuple

VERBS = ("quiet", "resume", "stop", "dump", "scale")
NOBODY = "-"

_CANCEL = re.compile(r"^cancel (\S+) ([0-9]{1,17}) (\S+) (\S+)$")
_COMMAND = re.compile(rf"^({'|'.join(VERBS)}) (\S+) ([0-9a-f]{{1,32}}) (\S+) (-|[0-9]{{1,12}}(?:\.[0-9]{{1,6}})?)$")
_PARTING = re.compile(r"[^\w.+:@-]", re.ASCII)


class CancelRequest(NamedTuple):
    """Somebody asked for a running job to stop.

    Attributes:
        job: Its id.
        token: The run.
        child: Who runs it.
        by: Who asked.
    """

    job: str
    token: int
    child: str
    by: str


class NewKind(NamedTuple):
    """A worker has come that knows, or serves, what no live worker did."""


class Command(NamedTuple):
    """What an operator wants of a worker.

    Attributes:
        verb: One of `VERBS`.
        worker: Its id.
        nonce: Hexadecimal; the same in every repetition.
        by: Who wants it; `NOBODY` for nobody in particular.
        value: Of ``scale`` the processes, of ``stop`` the seconds of grace; None when it is not given.
    """

    verb: str
    worker: str
    nonce: str
    by: str = NOBODY
    value: float | None = None

    def line(self) -> str:
        """The message."""
        by = _PARTING.sub("_", self.by)[:64] or NOBODY
        value = NOBODY if self.value is None else f"{self.value:.6f}".rstrip("0").rstrip(".")
        return f"{self.verb} {self.worker} {self.nonce} {by} {value}"


def read_control(message: str) -> CancelRequest | Command | NewKind | None:
    """Read a message of the control channel; None for one of a later version."""
    if message == "kinds":
        return NewKind()
    if found := _CANCEL.match(message):
        return CancelRequest(found[1], int(found[2]), found[3], found[4])
    if found := _COMMAND.match(message):
        value = None if found[5] == NOBODY else float(found[5])
        return Command(found[1], found[2], found[3], found[4], value)
    return None
