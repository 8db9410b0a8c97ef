"""``manage.py jobfleet …``: the command ``jobfleet`` with the settings of the project."""

from __future__ import annotations

import argparse
import os
import sys
from pathlib import Path
from typing import Any, ClassVar

from django.core.management.base import BaseCommand, CommandError
from django.utils.module_loading import autodiscover_modules

from jobfleet.contrib.django.apps import given_settings
from jobfleet.contrib.django.backend import JobfleetBackend
from jobfleet.contrib.program import QUEUES, arguments_of, become, environment_of, finish, is_set
from jobfleet.functions.registry import REGISTRY

MODULE = "jobfleet.contrib.django.worker"


class Command(BaseCommand):  # type: ignore[misc]  # Django has no types
    """Runs ``jobfleet`` with the settings of the project. ``worker`` and ``up`` load its tasks."""

    help = "Run the command jobfleet with the settings of this project: manage.py jobfleet worker, … queues ls."
    requires_system_checks: ClassVar[list[str]] = []

    def run_from_argv(self, argv: list[str]) -> None:
        """Become the command, so that signals reach the worker itself."""
        become(*_program(argv[2:], Path(argv[0])))

    def add_arguments(self, parser: Any) -> None:
        """Add the words for `call_command`."""
        parser.add_argument("words", nargs=argparse.REMAINDER)

    def handle(self, *_: Any, words: list[str], **__: Any) -> None:
        """Run the command, and write what it prints; for `call_command`.

        Raises:
            CommandError: It has failed.
        """
        done = finish(*_program(words))
        self.stdout.write(done.stdout, ending="")
        if done.stderr and not done.returncode:
            self.stderr.write(done.stderr, ending="")
        if done.returncode:
            raise CommandError(done.stderr.strip() or f"It ended with {done.returncode}.", returncode=done.returncode)


def _program(words: list[str], program: Path | None = None) -> tuple[list[str], dict[str, str]]:
    """The arguments and the environment of the command; it finds the modules beside `program` as this process does."""
    arguments = arguments_of(words, MODULE)
    environment = environment_of(given_settings())
    if program is not None and program.name == "manage.py" and not is_set("app_dir", words, environment, "--app-dir"):
        environment["JOBFLEET_APP_DIR"] = str(program.resolve().parent)
    if arguments != words and not is_set("queues", words, environment, *QUEUES):
        environment["JOBFLEET_QUEUES"] = ",".join(queues_of_project())
    environment.setdefault("DJANGO_SETTINGS_MODULE", os.environ.get("DJANGO_SETTINGS_MODULE", ""))
    for stream in (sys.stdout, sys.stderr):
        stream.flush()
    return arguments, environment


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
