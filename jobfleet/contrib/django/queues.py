"""The queues that a worker of a Django project serves if nobody names them."""

from __future__ import annotations

from django.utils.module_loading import autodiscover_modules

from jobfleet.contrib.django.backend import JobfleetBackend
from jobfleet.functions.registry import REGISTRY

try:
    from django.tasks import task_backends
except ModuleNotFoundError:
    from django_tasks import task_backends


def queues_of_project() -> list[str]:
    """The queues of all backends, and those of the job functions in the modules ``jobs`` of all applications.

    A task may go to any queue of its backend, although its decorator names another one.
    """
    autodiscover_modules("tasks")
    autodiscover_modules("jobs")
    ours = [backend for backend in task_backends.all() if isinstance(backend, JobfleetBackend)]
    of_functions = {str(one.given.get("queue") or "default") for one in REGISTRY.functions.values()}
    return sorted(of_functions.union(*(backend.queues for backend in ours)))
