"""What the start of a job depends on: its state, its limits and its group."""

from __future__ import annotations

from dataclasses import dataclass
from typing import NamedTuple

from jobfleet.store.job_rows import Found, InWait
from jobfleet.store.scores import due_of_score


class Limited(NamedTuple):
    """Limits and their usage.

    Attributes:
        most: Maximum number of concurrent jobs; 0 for no limit.
        running: Number of running jobs.
        token: Time at which the rate limit allows the next start, in µs; 0 if it does now.
        most_by: The functions that declare `most` in code; none if an operator has set it.
        rate_by: The functions that declare the rate.
    """

    most: int
    running: int
    token: int
    most_by: tuple[str, ...] = ()
    rate_by: tuple[str, ...] = ()


class Grouped(NamedTuple):
    """A job's group in its lane.

    Attributes:
        name: Its name.
        paused_by: Who paused it; empty if it is not paused.
        paused_at: When it was paused, in µs.
        paused_reason: The reason, if one was given.
        limit: Its limits.
        holders: At most five of its running jobs.
        ahead: Number of its jobs before this one.
        turns: Number of groups that take turns in its band.
    """

    name: str
    paused_by: str
    paused_at: int
    paused_reason: str
    limit: Limited
    holders: tuple[str, ...]
    ahead: int
    turns: int


class InSequence(NamedTuple):
    """The place of a job in its strict sequence.

    Attributes:
        head: The id of the head.
        state: The state of the head: running, waiting, sleeping, blocked, withheld, parked or failing.
        due: When the head is due, in µs; 0 unless it waits.
        before: Number of jobs before this one.
        signal: The signal that a sleeping head waits for; empty if it only sleeps.
    """

    head: str
    state: str
    due: int
    before: int
    signal: str = ""

    @classmethod
    def parse(cls, text: str) -> InSequence | None:
        """Parse the text that the script writes; None for an empty one."""
        if not text:
            return None
        known, _, head = text.partition("\n")  # a foreign head may have any characters
        state, due, before, signal = known.split(" ", 3)
        return cls(head, state, int(due), int(before), signal)


@dataclass(frozen=True, slots=True)
class Explained:
    """Everything that the start of one job depends on in its lane, read at one moment.

    Attributes:
        now: Redis's time, µs.
        found: The job's state.
        meta: Its clear record.
        paused_by: Who paused the lane; None if it is not paused.
        paused_at: When it was paused, in µs.
        reason: The reason.
        functions: The functions that are paused or being resumed, one line each.
        deadline: The end of the lease of its run, in µs; 0 outside of a run.
        hold: The time until which the lane's leases are not reaped, in µs; 0 if they are.
        due: Number of claimable jobs of the lane, per band.
        rank: Number of jobs before it in its band, while it waits.
        watched: Whether the job has dependants.
        limit: The lane's own limits; None if it has none.
        group: Its group; None if it has none.
        last_wait: The end of the last wait of a job that waits again, in µs, and its signal, if it has one.
        sequence: Its place in a strict sequence; None if it is in none.
    """

    now: int
    found: Found
    meta: str = ""
    paused_by: str | None = None
    paused_at: int = 0
    reason: str = ""
    functions: str = ""
    deadline: int = 0
    hold: int = 0
    due: tuple[int, ...] = (0, 0, 0, 0)
    rank: int = 0
    watched: bool = False
    limit: Limited | None = None
    group: Grouped | None = None
    last_wait: str = ""
    sequence: InSequence | None = None

    @property
    def wait(self) -> str | None:
        """The signal that the job waits for since a run, empty if it only sleeps; None for a job that does neither."""
        till, _, signal = self.last_wait.partition(" ")
        return signal if isinstance(self.found, InWait) and str(due_of_score(self.found.due)) == till else None
