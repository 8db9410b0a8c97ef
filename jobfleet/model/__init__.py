"""The domain types of jobfleet: ids, states, jobs and results."""

from jobfleet.clock import seconds
from jobfleet.model.names import check_function_name, check_queue
from jobfleet.model.result import JobId, JobResult, Receipt
from jobfleet.model.spec import (
    ID_BYTES,
    After,
    Job,
    Place,
    added_suffix,
    derived_suffix,
    new_suffix,
    split_id,
    suffix_time_us,
)
from jobfleet.model.status import FINAL, OPEN, STORED, TRANSITIONS, WAITING, ErrorType, JobStatus, Priority, Transition

__all__ = [
    "FINAL",
    "ID_BYTES",
    "OPEN",
    "STORED",
    "TRANSITIONS",
    "WAITING",
    "After",
    "ErrorType",
    "Job",
    "JobId",
    "JobResult",
    "JobStatus",
    "Place",
    "Priority",
    "Receipt",
    "Transition",
    "added_suffix",
    "check_function_name",
    "check_queue",
    "derived_suffix",
    "new_suffix",
    "seconds",
    "split_id",
    "suffix_time_us",
]
