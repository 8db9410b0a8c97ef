"""Jobs that a running job adds to its own flow."""

from __future__ import annotations

from dataclasses import dataclass

from jobfleet.graph import Flow


@dataclass(frozen=True, slots=True)
class FlowAddition:
    """An addition of a running job to its flow.

    Attributes:
        flow: The jobs, and the edges among them.
        name: The name of the addition, which stays the same when the job runs again.
        after_this: Whether the jobs start only when the adding job has completed.
        joins: The numbers of the jobs that the children of the adding job wait for.
    """

    flow: Flow
    name: str
    after_this: bool
    joins: tuple[int, ...]
