"""Jobs that a running job adds to its own flow."""

from __future__ import annotations

from dataclasses import dataclass

from jobfleet.graph import Flow


@dataclass(frozen=True, slots=True)
class Wish:
    """What a job asks to be added to its flow.

    Attributes:
        flow: The jobs, and whom of them each waits for.
        name: Under which they are known when the job is run again.
        after_this: Whether they start only when the job has completed.
        joins: The numbers of those that the job's children are to wait for.
    """

    flow: Flow
    name: str
    after_this: bool
    joins: tuple[int, ...]
