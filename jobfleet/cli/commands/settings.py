"""`jobfleet config` and `jobfleet version`."""

from __future__ import annotations

import os
import platform
from collections.abc import Iterator

import click

from jobfleet.cli.invocation import Invocation
from jobfleet.cli.options import Command, Group, SettingOption
from jobfleet.cli.output import Cell, Output, count
from jobfleet.config import SETTINGS, Setting
from jobfleet.version import VERSION


@click.group(cls=Group)
def config() -> None:
    """Show and check the settings."""


@config.command()
@click.pass_obj
def show(invocation: Invocation) -> None:
    """Show every setting, its value, and the source of the value."""
    loaded = invocation.loaded
    rows = [(row, _shown(row, getattr(loaded.config, row.name)), loaded.sources[row.name]) for row in SETTINGS]
    lines: list[list[Cell | str]] = [
        [
            row.name,
            row.derived if value is None else value or "-",
            Cell(source, "dim" if source == "default" else "green"),
            row.help,
        ]
        for row, value, source in rows
    ]
    flags = set(_flags(click.get_current_context().find_root()))
    invocation.output.show(
        data={
            row.name: {
                "value": value,
                "source": source,
                "flag": row.flag if row.name in flags else None,
                "variable": row.variable,
                "help": row.help,
            }
            for row, value, source in rows
        },
        ids=[row.name for row in SETTINGS],
        text=invocation.output.table(["SETTING", "VALUE", "FROM", "MEANING"], lines),
    )


def _shown(row: Setting, value: object) -> str | None:
    """A value as text; None if it is derived from something else."""
    return None if value is None else row.show(value)


def _flags(root: click.Context) -> Iterator[str]:
    """Names of the settings for which some command has a flag."""
    waiting = [root.command]
    while waiting:
        command = waiting.pop()
        yield from (str(option.name) for option in command.params if isinstance(option, SettingOption))
        if isinstance(command, click.Group):
            waiting += [one for name in command.list_commands(root) if (one := command.get_command(root, name))]


@config.command()
@click.pass_obj
def check(invocation: Invocation) -> None:
    """Check the settings. Exit code 2, and a remedy, if one is wrong."""
    from jobfleet.codec.seals import sealer_of
    from jobfleet.notify.registry import configured
    from jobfleet.store.target import target_of

    configured(invocation.config.notify, os.environ)
    sealer_of(invocation.config)
    if not invocation.config.url.startswith("embedded:"):  # which would start a server
        target_of(invocation.config)
    given = {name: source for name, source in invocation.loaded.sources.items() if source != "default"}
    places = ", ".join(sorted(set(given.values())))
    summary = f"{count(len(given), 'setting')} given ({places})" if given else "none given"
    text = f"The settings are valid: {summary}."
    invocation.output.show(data={"ok": True, "given": given}, ids=list(given), text=text)


@click.command(cls=Command)
@click.pass_obj
def version(invocation: Invocation) -> None:
    """Print the version."""
    data = {"jobfleet": VERSION, "python": platform.python_version()}
    Output(invocation.form).show(data=data, ids=[VERSION], text=f"jobfleet {VERSION}")
