"""jobfleet: background jobs on many machines, over one Redis.

from jobfleet import job

@job
def add(x: int, y: int) -> int:
    return x + y

handle = add.enqueue(10, 20)
handle.result(timeout=10)
"""

from jobfleet.client.aio import AsyncFleet
from jobfleet.client.context import JobContext, ProgressCallback
from jobfleet.client.default import cancel, configure, enqueue, poll, wait
from jobfleet.client.handle import AsyncJobHandle, JobHandle
from jobfleet.client.registry import JobFunction, job, register_job_function
from jobfleet.client.sync import Fleet
from jobfleet.errors import (
    ConfigError,
    DuplicateJob,
    DurabilityUnavailable,
    DurabilityUncertain,
    EncodingError,
    FleetFull,
    InvalidJob,
    JobCancelled,
    JobExpired,
    JobFailed,
    JobfleetError,
    JobNotFound,
    StoreUnavailable,
    UnknownParent,
    WaitTimeout,
)
from jobfleet.model import ErrorType, Job, JobResult, JobStatus, Priority, Receipt
from jobfleet.outcome import Discard, RetryAfter, Snooze
from jobfleet.version import VERSION as __version__

__all__ = [
    "AsyncFleet",
    "AsyncJobHandle",
    "ConfigError",
    "Discard",
    "DuplicateJob",
    "DurabilityUnavailable",
    "DurabilityUncertain",
    "EncodingError",
    "ErrorType",
    "Fleet",
    "FleetFull",
    "InvalidJob",
    "Job",
    "JobCancelled",
    "JobContext",
    "JobExpired",
    "JobFailed",
    "JobFunction",
    "JobHandle",
    "JobNotFound",
    "JobResult",
    "JobStatus",
    "JobfleetError",
    "Priority",
    "ProgressCallback",
    "Receipt",
    "RetryAfter",
    "Snooze",
    "StoreUnavailable",
    "UnknownParent",
    "WaitTimeout",
    "__version__",
    "cancel",
    "configure",
    "enqueue",
    "job",
    "poll",
    "register_job_function",
    "wait",
]
