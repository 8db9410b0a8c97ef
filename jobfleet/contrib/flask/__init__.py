"""Flask: an extension with the fleet of an application, its context around jobs, and ``flask jobfleet``.

Extra ``flask``.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from functools import wraps
from typing import Any

import click
from flask import Flask, current_app
from flask.cli import ScriptInfo, pass_script_info

from jobfleet.contrib.job_status import SHOWN, shown_of
from jobfleet.contrib.program import arguments_of, become, environment_of
from jobfleet.errors import ConfigError, JobNotFound
from jobfleet.fleet.default import configure, default_fleet
from jobfleet.fleet.sync import Fleet
from jobfleet.functions.callables import is_coroutine_function
from jobfleet.functions.default_fleet import offered_settings
from jobfleet.model import JobResult
from jobfleet.operations.jobs.poll import plain_results, rebuilt_in

__all__ = ["Jobfleet"]

NAME = "jobfleet"
"""The name of the extension among those of an application."""


class Jobfleet:
    """jobfleet in a Flask application: ``Jobfleet(app)``, or ``Jobfleet()`` and ``init_app(app)``.

    Jobs of the fleet run in the context of the application, so that `current_app`, `g` and extensions work in them.
    Each run has a context of its own, which is pushed and popped in the thread of the job.

    Args:
        app: The application; None if `init_app` follows.
        fleet: The fleet; default one that is made of the application's config, and becomes the default fleet.

    Raises:
        ConfigError: A setting is wrong.
    """

    def __init__(self, app: Flask | None = None, fleet: Fleet | None = None) -> None:
        self._fleet = fleet
        if app is not None:
            self.init_app(app)

    def init_app(self, app: Flask) -> None:
        """Add the fleet, the context and the command to an application.

        Keys of its config such as `JOBFLEET_URL` are settings. With several applications in one process, the last one
        has the default fleet and the context of jobs.

        Args:
            app: The application.

        Raises:
            ConfigError: A setting is wrong.
        """
        is_worker = offered_settings() is not None  # it has its settings already
        fleet = self._fleet or (default_fleet() if is_worker else configure(**settings_of(app)))
        if not is_worker:
            fleet.serve_requests()
        app.extensions[NAME] = fleet
        app.cli.add_command(jobfleet_command)
        wrappers = fleet.context.registry.around_call
        wrappers[:] = [one for one in wrappers if not isinstance(one, _InAppContext)] + [_InAppContext(app)]

    @property
    def fleet(self) -> Fleet:
        """The fleet of the current application.

        Raises:
            ConfigError: The application does not have the extension.
            RuntimeError: There is no current application.
        """
        fleet = current_app.extensions.get(NAME)
        if not isinstance(fleet, Fleet):
            raise ConfigError(f"The application {current_app.name!r} has no jobfleet: call init_app(app).")
        return fleet

    def state(
        self, job_id: str, *, allow: Callable[[JobResult[Any]], bool], shown: Iterable[str] = SHOWN
    ) -> dict[str, object]:
        """The state of a job for its user, as JSON. Values under keys such as ``password`` are hidden.

        Args:
            job_id: The id of the job.
            allow: Whether the user may see a job; its result is the object that the job has returned.
            shown: The attributes of `JobResult` that are shown; errors, tags, users and metadata are not by default.

        Raises:
            JobNotFound: There is no such job, or the user may not see it.
            StoreUnavailable: Redis does not reply.
        """
        fleet = self.fleet
        with plain_results():
            job = fleet.poll(job_id)
        if not allow(rebuilt_in(fleet.context, job)):
            raise JobNotFound(job_id)
        return shown_of(job, shown, fleet.config.redact)


class _InAppContext:
    """Wraps a job function, so that each call has a context of the application."""

    def __init__(self, app: Flask) -> None:
        self._app = app

    def __call__(self, function: Callable[..., Any]) -> Callable[..., Any]:
        if is_coroutine_function(function):

            @wraps(function)
            async def awaited(*args: Any, **kwargs: Any) -> Any:
                with self._app.app_context():
                    return await function(*args, **kwargs)

            return awaited

        @wraps(function)
        def called(*args: Any, **kwargs: Any) -> Any:
            with self._app.app_context():
                return function(*args, **kwargs)

        return called


MODULE = "jobfleet.contrib.flask.worker"
PREFIX = "JOBFLEET_"
"""The beginning of the keys of an application's config that are settings."""


def settings_of(app: Flask) -> dict[str, Any]:
    """The settings in the config of an application, by their names."""
    found = {key.removeprefix(PREFIX).lower(): value for key, value in app.config.items() if key.startswith(PREFIX)}
    return {name: value for name, value in found.items() if value is not None}


@click.command(
    "jobfleet",
    short_help="Run the command jobfleet with the settings of the application.",
    context_settings={"ignore_unknown_options": True},
    add_help_option=False,
)
@click.argument("words", nargs=-1, type=click.UNPROCESSED)
@pass_script_info
def jobfleet_command(info: ScriptInfo, words: tuple[str, ...]) -> None:
    """Run the command jobfleet with the settings of the application; ``worker`` and ``up`` load the application."""
    environment = environment_of(settings_of(info.load_app()))
    if info.app_import_path is not None:
        environment["FLASK_APP"] = str(info.app_import_path)
    become(arguments_of(words, MODULE), environment)
