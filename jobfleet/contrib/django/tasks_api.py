"""The names of Django's Tasks framework: Django 6 has it, and the package django-tasks gives it to Django 5.2."""

from __future__ import annotations

import json
from typing import Any

try:
    from django.tasks import TaskContext, TaskResult, TaskResultStatus, task_backends
    from django.tasks.backends.base import BaseTaskBackend
    from django.tasks.base import Task, TaskError
    from django.tasks.exceptions import InvalidTask, TaskResultDoesNotExist
    from django.tasks.signals import task_enqueued, task_finished, task_started
    from django.utils.json import normalize_json
except ModuleNotFoundError:
    from django_tasks import TaskContext, TaskResult, TaskResultStatus, task_backends
    from django_tasks.backends.base import BaseTaskBackend
    from django_tasks.base import Task, TaskError
    from django_tasks.exceptions import InvalidTaskError as InvalidTask
    from django_tasks.exceptions import TaskResultDoesNotExist
    from django_tasks.signals import task_enqueued, task_finished, task_started
    from django_tasks.utils import normalize_json

__all__ = [
    "BaseTaskBackend",
    "InvalidTask",
    "Task",
    "TaskContext",
    "TaskError",
    "TaskResult",
    "TaskResultDoesNotExist",
    "TaskResultStatus",
    "as_json",
    "task_backends",
    "task_enqueued",
    "task_finished",
    "task_started",
]


def as_json(value: Any) -> Any:
    """A value as JSON has it. Enums and other kinds of text and numbers, which Django permits, become plain ones.

    Raises:
        TypeError: It cannot be JSON.
    """
    return json.loads(json.dumps(normalize_json(value)))
