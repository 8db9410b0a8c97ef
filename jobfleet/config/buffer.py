"""The settings of the local buffer of a producer: rows of the table of all settings."""

from __future__ import annotations

from dataclasses import dataclass

from jobfleet.config.kind import COUNT, choice
from jobfleet.config.setting import setting
from jobfleet.config.trust import TrustSettings


@dataclass(frozen=True, slots=True, kw_only=True)
class BufferSettings(TrustSettings):
    """The settings of the local buffer of a producer; see `JobConfig`."""

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
