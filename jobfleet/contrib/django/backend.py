"""`JobfleetBackend`: Django's Tasks are jobs of the default fleet."""

from __future__ import annotations

import builtins
import json
import re
import sys
from collections.abc import Callable, Iterable, Mapping, Sequence
from contextlib import suppress
from datetime import UTC, datetime
from inspect import iscoroutinefunction, signature
from typing import Any

from django.conf import settings
from django.core import checks
from django.utils import timezone
from django.utils.module_loading import autodiscover_modules, import_string

from jobfleet.contrib.django.connections import closing_old_connections
from jobfleet.errors import InvalidJob, JobNotFound
from jobfleet.fleet.default import default_fleet
from jobfleet.functions.callables import Fit
from jobfleet.functions.context import JobContext
from jobfleet.functions.registry import REGISTRY, JobFunction, Registry
from jobfleet.model import Job, JobResult, JobStatus, Priority
from jobfleet.model.names import check_queue
from jobfleet.model.result import JobDetails
from jobfleet.model.spec import split_id, suffix_time_us

# Django 6 has its Tasks framework, and the package django-tasks gives it to Django 5.2.
try:
    from django.tasks import TaskContext, TaskResult, TaskResultStatus, task_backends
    from django.tasks.backends.base import BaseTaskBackend
    from django.tasks.base import TaskError
    from django.tasks.exceptions import InvalidTask, TaskResultDoesNotExist
    from django.tasks.signals import task_enqueued, task_finished, task_started
    from django.utils.json import normalize_json
except ModuleNotFoundError:
    from django_tasks import TaskContext, TaskResult, TaskResultStatus, task_backends
    from django_tasks.backends.base import BaseTaskBackend
    from django_tasks.base import TaskError
    from django_tasks.exceptions import InvalidTaskError as InvalidTask
    from django_tasks.exceptions import TaskResultDoesNotExist
    from django_tasks.signals import task_enqueued, task_finished, task_started
    from django_tasks.utils import normalize_json

URGENT = 50
"""From this priority on, a task is CRITICAL; from 1 HIGH, below 0 LOW."""


def priority_of(number: int) -> Priority:
    """The priority of a job for that of a task, which is a number from -100 to 100."""
    if number == 0:
        return Priority.NORMAL
    if number < 0:
        return Priority.LOW
    return Priority.CRITICAL if number >= URGENT else Priority.HIGH


def as_json(value: Any) -> Any:
    """A value as JSON has it. Enums and other kinds of text and numbers, which Django permits, become plain ones.

    Raises:
        TypeError: It cannot be JSON.
    """
    return json.loads(json.dumps(normalize_json(value)))


class JobfleetBackend(BaseTaskBackend):  # type: ignore[misc]  # Django has no types
    """A backend of Django's Tasks framework; ``manage.py jobfleet worker`` runs the tasks.

    `OPTIONS` are options of all its jobs, such as ``{"max_retries": 0, "timeout": 60}``; see `jobfleet.job`.
    """

    makes_jobs_of_jobfleet = True
    supports_defer = True
    supports_async_task = True
    supports_get_result = True
    supports_priority = True

    def validate_task(self, task: Any) -> None:
        """Refuse a task that cannot be run; register any other one, so that workers find it by its name."""
        super().validate_task(task)
        self._function_of(task)

    def _function_of(self, task: Any) -> JobFunction[..., Any, Any]:
        try:
            return job_function_of(task, self.options)
        except InvalidJob as error:
            raise InvalidTask(str(error)) from error

    def _job(self, task: Any, args: Sequence[Any], kwargs: Mapping[str, Any]) -> Job[Any]:
        self.validate_task(task)
        marks: dict[str, Any] = {}
        options: dict[str, Any] = {"queue": task.queue_name, "priority": priority_of(task.priority)}
        if task.priority:
            marks["priority"] = task.priority
        if task.run_after is not None:
            due = task.run_after if timezone.is_aware(task.run_after) else timezone.make_aware(task.run_after)
            options["scheduled_at"] = due
            marks["run_after"] = task.run_after.isoformat()
        if marks:
            options["metadata"] = {MARK: marks}
        try:
            check_arguments(task, args, kwargs)
            return self._function_of(task).options(**options).job(*as_json(args), **as_json(kwargs))
        except InvalidJob as error:
            raise InvalidTask(str(error)) from error

    def enqueue(self, task: Any, args: Sequence[Any], kwargs: Mapping[str, Any]) -> Any:
        """Enqueue a task at once, also within a transaction; return its `TaskResult`.

        Raises:
            InvalidTask: The task cannot be run by this backend, or its function does not take the arguments.
            TypeError: An argument is not JSON.
            JobfleetError: It cannot be enqueued, for example because Redis does not reply.
        """
        job = self._job(task, args, kwargs)
        receipt = default_fleet().submit(job)
        result = enqueued_result(task, self.alias, receipt.id, job)
        task_enqueued.send_robust(type(self), task_result=result)
        return result

    async def aenqueue(self, task: Any, args: Sequence[Any], kwargs: Mapping[str, Any]) -> Any:
        """Enqueue a task; see `enqueue`."""
        job = self._job(task, args, kwargs)
        receipt = await default_fleet().for_running_loop().submit(job)
        result = enqueued_result(task, self.alias, receipt.id, job)
        await task_enqueued.asend_robust(type(self), task_result=result)
        return result

    def get_result(self, result_id: str) -> Any:
        """Read the `TaskResult` of a job, from any process.

        Raises:
            TaskResultDoesNotExist: There is no such job, or it does not run a task that this process has imported.
        """
        try:
            details = default_fleet().details(result_id)
        except (JobNotFound, InvalidJob):
            raise TaskResultDoesNotExist(result_id) from None
        return result_of(details, known_task(details.job.function, result_id), self.alias)

    async def aget_result(self, result_id: str) -> Any:
        """Read the `TaskResult` of a job; see `get_result`."""
        try:
            details = await default_fleet().for_running_loop().details(result_id)
        except (JobNotFound, InvalidJob):
            raise TaskResultDoesNotExist(result_id) from None
        return result_of(details, known_task(details.job.function, result_id), self.alias)

    def check(self, **_: Any) -> Iterable[Any]:
        """Check the setting `TASKS` for ``manage.py check``."""
        found = []
        try:
            Registry().register(
                _nothing, name="check", **{str(name).lower(): value for name, value in self.options.items()}
            )
        except (InvalidJob, TypeError) as error:
            found.append(checks.Error(f"TASKS[{self.alias!r}]['OPTIONS']: {error}", id="jobfleet.E001"))
        for queue in sorted(self.queues):
            try:
                check_queue(queue, field=f"TASKS[{self.alias!r}]['QUEUES']")
            except InvalidJob as error:
                found.append(checks.Error(str(error), id="jobfleet.E002"))
        return found


def _nothing() -> None:
    """Stands for a task while options are checked."""


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


# Registers the functions of Django's Tasks as job functions, and runs them.
#
# The name of a job function is the path of the task's function. Where a task is sent to another backend than that of
# its decorator, with other options, a colon and the alias of that backend follow. A name from Redis finds only tasks
# that were registered so; nothing is imported by it.


_tasks: dict[str, Any] = {}
"""The tasks by the names of their job functions, as their decorators made them, each with its backend."""

_options: dict[str, dict[str, Any]] = {}
"""The options of those backends, by the same names."""

_fits: dict[str, Fit] = {}
"""Which arguments the functions of tasks take, by their paths."""


def job_function_of(task: Any, options: Mapping[str, Any]) -> JobFunction[..., Any, Any]:
    """The job function of a task with the options of its backend; the decorator of the task registers it.

    A task has a job function for each backend of jobfleet whose options differ: a worker imports the decorator alone,
    and must know each of them.

    Args:
        task: The task.
        options: The options of its backend: those of `jobfleet.job`, in any case.

    Raises:
        InvalidJob: An option is wrong, or another function has the name.
    """
    path: str = task.module_path
    chosen = {str(name).lower(): value for name, value in options.items()}
    home = _tasks.get(path)
    is_own = home is None or home.func is not task.func or task.backend == home.backend or chosen == _options[path]
    name = path if is_own else f"{path}:{task.backend}"
    known, registered = _tasks.get(name), REGISTRY.get(name)
    if registered is not None and known is not None:
        if known.func is task.func:
            return registered
        del REGISTRY.functions[name]  # its module was loaded again
    if not _tasks:
        REGISTRY.hooks.on_failure(closing_old_connections(report_failure))
    made = REGISTRY.register(_runner_of(task), name=name, **{"queue": task.queue_name, **chosen})
    _tasks[name], _options[name], _fits[path] = task, chosen, _fit_of(task)
    if name == path:
        for alias in task_backends.settings:
            if alias != task.backend and _is_of_jobfleet(alias):
                with suppress(InvalidTask):  # that backend does not have the queue, for example
                    task.using(backend=alias)
    return made


def _is_of_jobfleet(alias: str) -> bool:
    """Whether the backend of an alias makes jobs of jobfleet. It is not created here: it may be another product's."""
    try:
        return getattr(import_string(task_backends.settings[alias]["BACKEND"]), "makes_jobs_of_jobfleet", False) is True
    except ImportError:  # Django's check reports it
        return False


def _fit_of(task: Any) -> Fit:
    if hasattr(task.func, "__wrapped__"):  # the wrapper may take other arguments than its signature shows
        return Fit(task.module_path, None)
    return Fit(task.module_path, list(signature(task.func).parameters.values())[int(task.takes_context) :])


def check_arguments(task: Any, args: Sequence[Any], kwargs: Mapping[str, Any]) -> None:
    """Check the arguments of a registered task.

    Raises:
        InvalidJob: The function of the task does not take them.
    """
    fit, shape = _fits[task.module_path], (len(args), *kwargs)
    if shape not in fit.shapes:
        fit.check(shape, args, kwargs)


def known_task(name: str, result_id: str) -> Any:
    """The task whose function has a name; modules ``tasks`` of all applications are imported to find it.

    Raises:
        TaskResultDoesNotExist: This process has not imported such a task.
    """
    if name not in _tasks:
        autodiscover_modules("tasks")
    if name not in _tasks:
        raise TaskResultDoesNotExist(f"{result_id} runs {name!r}, which is not a task that this process has imported.")
    return _tasks[name]


def _runner_of(task: Any) -> Callable[..., Any]:
    """What a worker calls: the task's function between Django's signals."""

    def begun(context: JobContext, args: Any, kwargs: Any) -> tuple[Any, tuple[Any, ...]]:
        result = running_result(task, task.backend, context, args, kwargs)
        return result, (TaskContext(task_result=result), *args) if task.takes_context else args

    async def run_awaited(context: JobContext, /, *args: Any, **kwargs: Any) -> Any:
        result, arguments = begun(context, args, kwargs)
        await task_started.asend_robust(type(task.get_backend()), task_result=result)
        value = as_json(await task.func(*arguments, **kwargs))
        ended(result, value)
        await task_finished.asend_robust(type(task.get_backend()), task_result=result)
        return value

    def run(context: JobContext, /, *args: Any, **kwargs: Any) -> Any:
        result, arguments = begun(context, args, kwargs)
        task_started.send_robust(type(task.get_backend()), task_result=result)
        value = as_json(task.func(*arguments, **kwargs))
        ended(result, value)
        task_finished.send_robust(type(task.get_backend()), task_result=result)
        return value

    made = run_awaited if iscoroutinefunction(task.func) else run
    made.__doc__ = task.func.__doc__
    made.__module__, made.__qualname__, made.__name__ = task.func.__module__, task.func.__qualname__, task.func.__name__
    return made


def report_failure(context: JobContext, error: BaseException) -> None:
    """Send Django's signal for a task that has failed for good; a hook `on_failure`."""
    task = _tasks.get(str(context.job.function))
    if task is None:
        return
    result = running_result(task, task.backend, context, list(context.job.args), dict(context.job.kwargs))
    ended(result, error=error)
    try:
        raise error
    except BaseException:  # noqa: BLE001 - receivers, such as Django's log, find the error by sys.exc_info()
        task_finished.send_robust(type(task.get_backend()), task_result=result)
