"""Registers the functions of Django's Tasks as job functions, and runs them.

The name of a job function is the path of the task's function. Where a task is sent to another backend than that of its
decorator, with other options, a colon and the alias of that backend follow. A name from Redis finds only tasks that
were registered so; nothing is imported by it.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from inspect import iscoroutinefunction, signature
from typing import Any

from django.utils.module_loading import autodiscover_modules, import_string

from jobfleet.contrib.django.connections import closing_old_connections
from jobfleet.contrib.django.results import ended, running_result
from jobfleet.contrib.django.tasks_api import (
    InvalidTask,
    TaskContext,
    TaskResultDoesNotExist,
    as_json,
    task_backends,
    task_finished,
    task_started,
)
from jobfleet.functions.callables import Fit
from jobfleet.functions.context import JobContext
from jobfleet.functions.registry import REGISTRY, JobFunction

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
