"""jobfleet: background jobs on many machines, over one Redis.

from jobfleet import job

@job
def add(x: int, y: int) -> int:
return x + y

handle = add.enqueue(10, 20)
handle.result(timeout=10)
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

from jobfleet import version

__version__ = version.VERSION

if TYPE_CHECKING:
    from jobfleet.archive import init_job_tables
    from jobfleet.compat import JobManager, get_job_manager
    from jobfleet.config import JobConfig
    from jobfleet.cron import Cron
    from jobfleet.errors import (
        BadSignature,
        BufferFull,
        ConfigError,
        DuplicateJob,
        DurabilityUnavailable,
        DurabilityUncertain,
        EncodingError,
        FleetFull,
        IdConflict,
        InvalidJob,
        JobCancelled,
        JobExpired,
        JobFailed,
        JobfleetError,
        JobNotFound,
        LockConflict,
        LockTimeout,
        PayloadLost,
        PayloadUnavailable,
        SignalTimeout,
        StoreUnavailable,
        TypeMismatch,
        UnknownGroup,
        UnknownKey,
        UnknownParent,
        UnknownQueue,
        UnknownRescue,
        WaitTimeout,
    )
    from jobfleet.fleet.aio import AsyncFleet
    from jobfleet.fleet.default import cancel, configure, enqueue, poll, wait
    from jobfleet.fleet.sync import Fleet
    from jobfleet.functions.batch import BatchItem
    from jobfleet.functions.context import JobContext
    from jobfleet.functions.injection import Resource
    from jobfleet.functions.limiting import Breaker, Limit
    from jobfleet.functions.port import ProgressCallback
    from jobfleet.functions.registry import JobFunction, hooks, job, register_job_function
    from jobfleet.functions.steps import undo
    from jobfleet.handle._async.handle import AsyncJobHandle
    from jobfleet.handle._sync.handle import JobHandle
    from jobfleet.model import After, ErrorType, Job, JobId, JobResult, JobStatus, Priority, Receipt
    from jobfleet.model.flow import Flow
    from jobfleet.model.life import LifeEvent
    from jobfleet.model.result import Chunk, JobDetails
    from jobfleet.model.signals import Discard, RateLimited, RetryAfter, Snooze
    from jobfleet.secret import Secret

# Names are resolved when they are first used (PEP 562): a producer pays for the client alone, and
# `jobfleet version` for nothing.
_HOMES = {
    "After": "jobfleet.model",
    "AsyncFleet": "jobfleet.fleet.aio",
    "AsyncJobHandle": "jobfleet.handle._async.handle",
    "BadSignature": "jobfleet.errors",
    "BatchItem": "jobfleet.functions.batch",
    "Breaker": "jobfleet.functions.limiting",
    "BufferFull": "jobfleet.errors",
    "Chunk": "jobfleet.model.result",
    "ConfigError": "jobfleet.errors",
    "Cron": "jobfleet.cron",
    "Discard": "jobfleet.model.signals",
    "DuplicateJob": "jobfleet.errors",
    "DurabilityUnavailable": "jobfleet.errors",
    "DurabilityUncertain": "jobfleet.errors",
    "EncodingError": "jobfleet.errors",
    "ErrorType": "jobfleet.model",
    "Fleet": "jobfleet.fleet.sync",
    "FleetFull": "jobfleet.errors",
    "Flow": "jobfleet.model.flow",
    "IdConflict": "jobfleet.errors",
    "InvalidJob": "jobfleet.errors",
    "Job": "jobfleet.model",
    "JobCancelled": "jobfleet.errors",
    "JobConfig": "jobfleet.config",
    "JobContext": "jobfleet.functions.context",
    "JobDetails": "jobfleet.model.result",
    "JobExpired": "jobfleet.errors",
    "JobFailed": "jobfleet.errors",
    "JobFunction": "jobfleet.functions.registry",
    "JobHandle": "jobfleet.handle._sync.handle",
    "JobId": "jobfleet.model",
    "JobManager": "jobfleet.compat",
    "JobNotFound": "jobfleet.errors",
    "JobResult": "jobfleet.model",
    "JobStatus": "jobfleet.model",
    "JobfleetError": "jobfleet.errors",
    "LifeEvent": "jobfleet.model.life",
    "Limit": "jobfleet.functions.limiting",
    "LockConflict": "jobfleet.errors",
    "LockTimeout": "jobfleet.errors",
    "PayloadLost": "jobfleet.errors",
    "PayloadUnavailable": "jobfleet.errors",
    "SignalTimeout": "jobfleet.errors",
    "Priority": "jobfleet.model",
    "ProgressCallback": "jobfleet.functions.port",
    "RateLimited": "jobfleet.model.signals",
    "Receipt": "jobfleet.model",
    "Resource": "jobfleet.functions.injection",
    "RetryAfter": "jobfleet.model.signals",
    "Secret": "jobfleet.secret",
    "Snooze": "jobfleet.model.signals",
    "StoreUnavailable": "jobfleet.errors",
    "UnknownKey": "jobfleet.errors",
    "UnknownParent": "jobfleet.errors",
    "TypeMismatch": "jobfleet.errors",
    "UnknownGroup": "jobfleet.errors",
    "UnknownQueue": "jobfleet.errors",
    "UnknownRescue": "jobfleet.errors",
    "WaitTimeout": "jobfleet.errors",
    "cancel": "jobfleet.fleet.default",
    "configure": "jobfleet.fleet.default",
    "enqueue": "jobfleet.fleet.default",
    "get_job_manager": "jobfleet.compat",
    "hooks": "jobfleet.functions.registry",
    "init_job_tables": "jobfleet.archive",
    "job": "jobfleet.functions.registry",
    "poll": "jobfleet.fleet.default",
    "register_job_function": "jobfleet.functions.registry",
    "undo": "jobfleet.functions.steps",
    "wait": "jobfleet.fleet.default",
}


def __getattr__(name: str) -> Any:
    home = _HOMES.get(name)
    if home is None:
        raise AttributeError(f"module 'jobfleet' has no attribute {name!r}")
    module = import_module(home)
    if home.startswith("jobfleet.functions."):
        _provide_default_fleet()
    value = globals()[name] = getattr(module, name)
    return value


def _provide_default_fleet() -> None:
    """Let job functions find the default fleet, which is loaded at the first enqueue."""
    from jobfleet.functions.default_fleet import has_default_fleet, provide_default_fleet

    if not has_default_fleet():
        provide_default_fleet(lambda: import_module("jobfleet.fleet.default").default_fleet())


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})


__all__ = [
    "After",
    "AsyncFleet",
    "AsyncJobHandle",
    "BadSignature",
    "BatchItem",
    "Breaker",
    "BufferFull",
    "Chunk",
    "ConfigError",
    "Cron",
    "Discard",
    "DuplicateJob",
    "DurabilityUnavailable",
    "DurabilityUncertain",
    "EncodingError",
    "ErrorType",
    "Fleet",
    "FleetFull",
    "Flow",
    "IdConflict",
    "InvalidJob",
    "Job",
    "JobCancelled",
    "JobConfig",
    "JobContext",
    "JobDetails",
    "JobExpired",
    "JobFailed",
    "JobFunction",
    "JobHandle",
    "JobId",
    "JobManager",
    "JobNotFound",
    "JobResult",
    "JobStatus",
    "JobfleetError",
    "LifeEvent",
    "Limit",
    "LockConflict",
    "LockTimeout",
    "PayloadLost",
    "PayloadUnavailable",
    "Priority",
    "ProgressCallback",
    "RateLimited",
    "Receipt",
    "Resource",
    "RetryAfter",
    "Secret",
    "SignalTimeout",
    "Snooze",
    "StoreUnavailable",
    "TypeMismatch",
    "UnknownGroup",
    "UnknownKey",
    "UnknownParent",
    "UnknownQueue",
    "UnknownRescue",
    "WaitTimeout",
    "__version__",
    "cancel",
    "configure",
    "enqueue",
    "get_job_manager",
    "hooks",
    "init_job_tables",
    "job",
    "poll",
    "register_job_function",
    "undo",
    "wait",
]
