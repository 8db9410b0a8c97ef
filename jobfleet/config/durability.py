"""The settings of durability, but for its time limit."""

from __future__ import annotations

from dataclasses import dataclass

from jobfleet.config.buffer import BufferSettings
from jobfleet.config.kind import COUNT, choice
from jobfleet.config.setting import setting


@dataclass(frozen=True, slots=True, kw_only=True)
class DurabilitySettings(BufferSettings):
    """The settings of durability; see `JobConfig`, which has the rows with durations."""

    durability: str = setting(
        choice("fast", "replicated", "fsync"),
        "fast",
        "What must confirm that a job is stored, unless the job, its function or its queue says it: nothing more, "
        "replicas, or the disk.",
        scope="producer",
    )
    durability_replicas: int = setting(
        COUNT,
        1,
        "Number of replicas that confirm a write of durability 'replicated'.",
        scope="all",
        unit="replicas",
        least=1,
        most=100,
    )
