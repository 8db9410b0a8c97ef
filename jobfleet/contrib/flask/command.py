"""``flask jobfleet …``: the command ``jobfleet`` with the settings of the application."""

from __future__ import annotations

from typing import Any

import click
from flask import Flask
from flask.cli import ScriptInfo, pass_script_info

from jobfleet.contrib.program import arguments_of, become, environment_of

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
