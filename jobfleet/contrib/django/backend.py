"""`JobfleetBackend`: Django's Tasks are jobs of the default fleet."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from django.core import checks
from django.utils import timezone

from jobfleet.contrib.django.registration import check_arguments, job_function_of, known_task
from jobfleet.contrib.django.results import MARK, enqueued_result, result_of
from jobfleet.contrib.django.tasks_api import (
    BaseTaskBackend,
    InvalidTask,
    TaskResultDoesNotExist,
    as_json,
    task_enqueued,
)
from jobfleet.errors import InvalidJob, JobNotFound
from jobfleet.fleet.default import default_fleet
from jobfleet.functions.registry import JobFunction, Registry
from jobfleet.model import Job, Priority
from jobfleet.model.option_checks import check_queue

URGENT = 50
"""From this priority on, a task is CRITICAL; from 1 HIGH, below 0 LOW."""


def priority_of(number: int) -> Priority:
    """The priority of a job for that of a task, which is a number from -100 to 100."""
    if number == 0:
        return Priority.NORMAL
    if number < 0:
        return Priority.LOW
    return Priority.CRITICAL if number >= URGENT else Priority.HIGH


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
