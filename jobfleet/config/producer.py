"""The settings of a job's way to Redis: durability, but for its time limit, and the local buffer of a producer."""

from __future__ import annotations

from dataclasses import dataclass

from jobfleet.config.kind import COUNT, choice
from jobfleet.config.setting import setting
from jobfleet.config.trust import TrustSettings


@dataclass(frozen=True, slots=True, kw_only=True)
class ProducerSettings(TrustSettings):
    """The settings of a job's way to Redis; see `JobConfig`, which has the rows with durations."""

    buffer: int = setting(
        COUNT,
        0,
        "Maximum number of jobs that a producer keeps in memory while Redis is unavailable; 0 keeps none.",
        scope="producer", unit="jobs", least=0, most=1_000_000,
    )  # fmt: skip
    on_full: str = setting(
        choice("raise", "drop"),
        "raise",
        "What a producer does with a job for which its buffer has no room: raise BufferFull, or drop the job.",
        scope="producer",
    )
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
