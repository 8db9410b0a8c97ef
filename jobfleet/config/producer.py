"""The settings of a job's way: durability, but for its time limit, the buffer of a producer, and the payload store."""

from __future__ import annotations

from dataclasses import dataclass

from jobfleet.config.kind import ALL_REPLICAS, COUNT, DURATION, REPLICAS, SIZE, STORE, choice
from jobfleet.config.setting import setting
from jobfleet.config.trust import TrustSettings

KIB = 1024
MIB = 1024 * KIB


@dataclass(frozen=True, slots=True, kw_only=True)
class ProducerSettings(TrustSettings):
    """The settings of a job's way; see `JobConfig`, which has the rows with durations."""

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
    durability_replicas: int | str = setting(
        REPLICAS,
        ALL_REPLICAS,
        "Replicas that confirm a write of durability 'replicated': all that may take over, or a number.",
        scope="all",
        unit="replicas",
    )
    payload_store: str | None = setting(
        STORE, None, "Where arguments and results that are too large for Redis are stored.", scope="all",
        derived="in Redis",
    )  # fmt: skip
    payload_threshold: int = setting(
        SIZE, 64 * KIB, "Size above which arguments and results go to payload_store.", scope="all", least=KIB
    )
    payload_max: int = setting(
        SIZE, 64 * MIB, "Maximum size of a payload, and of a result, if payload_store is set.", scope="all",
        least=KIB, most=512 * MIB,
    )  # fmt: skip
    payload_grace: float = setting(
        DURATION, 86_400.0, "Age from which a stored payload that no job refers to is deleted.", scope="reaper",
        least=1.0,
    )  # fmt: skip
