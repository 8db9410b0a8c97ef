"""`TaskResult` objects of Django's Tasks framework, made of what a fleet knows about a job."""

from __future__ import annotations

import builtins
import re
import sys
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from typing import Any

from django.conf import settings
from django.utils import timezone

from jobfleet.contrib.django.tasks_api import InvalidTask, TaskError, TaskResult, TaskResultStatus
from jobfleet.functions.context import JobContext
from jobfleet.model import Job, JobResult, JobStatus
from jobfleet.model.result import JobDetails
from jobfleet.model.spec import split_id, suffix_time_us

MARK = "django"
"""The key of the metadata that has the priority and the time of a task, which a job keeps in another form."""
UNKNOWN = "unknown"
"""The worker of an earlier attempt; a fleet keeps the last one."""
_STATUS = {
    JobStatus.RUNNING: TaskResultStatus.RUNNING,
    JobStatus.COMPLETED: TaskResultStatus.SUCCESSFUL,
    JobStatus.FAILED: TaskResultStatus.FAILED,
    JobStatus.CANCELLED: TaskResultStatus.FAILED,
    JobStatus.EXPIRED: TaskResultStatus.FAILED,
}
_WITHOUT_CLASS = {JobStatus.CANCELLED: "jobfleet.errors.JobCancelled", JobStatus.EXPIRED: "jobfleet.errors.JobExpired"}


def enqueued_result(task: Any, backend: str, job_id: str, job: Job[Any]) -> Any:
    """The result of a task that was just enqueued."""
    return _result(
        task,
        job_id,
        backend,
        TaskResultStatus.READY,
        tuple(job.args),
        job.kwargs,
        enqueued_at=_created(job_id) or _now(),
    )


def running_result(task: Any, backend: str, context: JobContext, args: Sequence[Any], kwargs: Mapping[str, Any]) -> Any:
    """The result of a task that begins to run."""
    made = with_options(task, split_id(context.job_id).queue, context.metadata)
    workers = [*[UNKNOWN] * (context.attempt - 1), context.worker]
    return _result(
        made, context.job_id, backend, TaskResultStatus.RUNNING, args, kwargs,
        enqueued_at=_created(context.job_id), started_at=_now(), worker_ids=workers,
    )  # fmt: skip


def ended(result: Any, value: Any = None, error: BaseException | None = None) -> None:
    """Set how a task has ended; Django's own backends change the frozen object in the same way."""
    status = TaskResultStatus.SUCCESSFUL if error is None else TaskResultStatus.FAILED
    object.__setattr__(result, "status", status)
    object.__setattr__(result, "finished_at", _now())
    object.__setattr__(result, "_return_value", value)


def result_of(details: JobDetails[Any], task: Any, backend: str) -> Any:
    """The result of a task from what is known about its job."""
    job = details.job
    has_run = job.attempt > 0
    result = _result(
        with_options(task, job.queue, job.metadata), job.id, backend, _STATUS.get(job.status, TaskResultStatus.READY),
        details.args or (), details.kwargs or {}, enqueued_at=_moment(job.enqueued_at),
        started_at=_moment(job.started_at), finished_at=_moment(job.completed_at) if job.status.is_final else None,
        errors=_errors(job), worker_ids=[*[UNKNOWN] * (job.attempt - 1), job.worker or UNKNOWN] if has_run else [],
    )  # fmt: skip
    object.__setattr__(result, "_return_value", job.result)
    return result


def with_options(task: Any, queue: str, metadata: Mapping[str, Any]) -> Any:
    """The task with the queue, priority and time with which it was enqueued."""
    marks: Any = metadata.get(MARK)
    marks = marks if isinstance(marks, Mapping) else {}
    run_after = marks.get("run_after")
    try:
        return task.using(
            queue_name=queue,
            priority=marks.get("priority", 0),
            run_after=datetime.fromisoformat(run_after) if run_after else None,
        )
    except (InvalidTask, TypeError, ValueError):  # it was moved to a queue that the backend does not have, for example
        return task


def _result(
    task: Any,
    job_id: str,
    backend: str,
    status: Any,
    args: Sequence[Any],
    kwargs: Mapping[str, Any],
    *,
    enqueued_at: datetime | None,
    started_at: datetime | None = None,
    finished_at: datetime | None = None,
    errors: Sequence[Any] = (),
    worker_ids: Sequence[str] = (),
) -> Any:
    return TaskResult(
        task=task, id=job_id, status=status, enqueued_at=enqueued_at, started_at=started_at,
        last_attempted_at=started_at, finished_at=finished_at, args=list(args), kwargs=dict(kwargs), backend=backend,
        errors=list(errors), worker_ids=list(worker_ids),
    )  # fmt: skip


def _errors(job: JobResult[Any]) -> list[Any]:
    if not job.error and job.status not in (JobStatus.FAILED, *_WITHOUT_CLASS):
        return []
    return [TaskError(exception_class_path=_class_path(job), traceback=job.traceback or job.error_text)]


def _class_path(job: JobResult[Any]) -> str:
    """The importable name of the class of a job's last error, which the last lines of its traceback have.

    Django imports what it names, and the traceback is a text in Redis. So only a class that this process has loaded
    already is named.
    """
    name = job.error_class or ""
    found = re.findall(rf"^((?:\w+\.)*{re.escape(name)})(?::|$)", job.traceback or "", re.MULTILINE) if name else []
    module, _, own = str(found[-1] if found else name).rpartition(".")
    kind = vars(sys.modules.get(module or "builtins", builtins)).get(own)
    if isinstance(kind, type) and issubclass(kind, BaseException):
        return f"{module or 'builtins'}.{own}"
    return _WITHOUT_CLASS.get(job.status, "jobfleet.errors.JobFailed")


def _created(job_id: str) -> datetime | None:
    created_us = suffix_time_us(split_id(job_id).suffix)
    return None if created_us is None else _moment(datetime.fromtimestamp(created_us / 1e6, UTC))


def _now() -> datetime:
    now: datetime = timezone.now()
    return now


def _moment(value: datetime | None) -> datetime | None:
    """A time as the project has it: without a zone if `USE_TZ` is off."""
    if value is None or settings.USE_TZ:
        return value
    made: datetime = timezone.make_naive(value)
    return made
