"""Events of jobs and commands to workers, as values and in their wire format. Pure."""

from __future__ import annotations

import re
from datetime import UTC, datetime
from typing import NamedTuple

from jobfleet.model.audit import NOBODY, from_word, to_word

# Messages to supervisors; each is one line of text. Pure.
#
# On the channel ``control``, cancel.lua publishes ``cancel <job> <token> <child> <by>``, and know.lua ``kinds``. On
# the channel ``commands``, to which only operators may publish, each line is a command to one worker: ``<verb>
# <worker> <nonce> <by> <value>``, with ``-`` for a missing value. A message can be lost or delivered twice. Therefore
# the sender repeats a command, and the receiver recognizes its nonce.


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


# Events in their wire format: one line of text per job, as lib/events/event.lua writes it.
#
# The form is ``version event id token n at``, followed by the stage for ``stopping`` and ``replayed``. `token` and
# `n` order the events of one job. `at` is Redis's time in µs. Pub/sub can drop messages, so an event is only a hint;
# the state is in keys.


VERSION = 1
_LINE = re.compile(
    rf"^{VERSION} (\S+) (\S+) ([0-9]{{1,17}}) ([0-9]{{1,17}}) ([0-9]{{1,17}})(?: ([a-z]*))?(?: .*)?$", re.MULTILINE
)

NAMES = (
    "enqueued", "claimed", "progressed", "completed", "retried", "failed", "released", "parked", "withheld", "expired",
    "cancelled", "rescheduled", "signalled", "edited", "debounced", "replayed", "unblocked", "stopping", "forgotten",
)  # fmt: skip
"""The events, in the order in which the reference and the command line name them."""

STAGED = frozenset({"stopping", "replayed"})
"""Events that carry a stage as an extra word."""

LAST = 1_000_000
"""The `n` of the event that ends a run."""


class Event(NamedTuple):
    """One event of a job.

    Attributes:
        event: A verb in the past tense, or stopping; `NAMES` has them all.
        id: The job's id.
        token: The fencing token of the run; 0 outside of a run.
        n: The order of the events of one run.
        at: The time by Redis's clock.
        stage: For ``stopping``: asked, raised, terminated, killed or condemned. For ``replayed``: edited, if the
            arguments were changed. Otherwise empty.
    """

    event: str
    id: str
    token: int
    n: int
    at: datetime
    stage: str = ""


def read_events(message: str) -> list[Event]:
    """Parse a message of an event channel; skip lines of a later version."""
    return [
        Event(
            event,
            job_id,
            int(token),
            int(n),
            datetime.fromtimestamp(int(at) / 1e6, UTC),
            stage if event in STAGED else "",
        )
        for event, job_id, token, n, at, stage in _LINE.findall(message)
    ]
