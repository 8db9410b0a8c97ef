"""`jobfleet config` and `jobfleet version`."""

from __future__ import annotations

import os
import platform

import click

from jobfleet.cli.invocation import Invocation
from jobfleet.cli.options import Command, Group
from jobfleet.cli.output import Cell, Output, count
from jobfleet.config import SETTINGS
from jobfleet.version import VERSION


@click.group(cls=Group)
def config() -> None:
    """Look at settings."""


@config.command()
@click.pass_obj
def show(invocation: Invocation) -> None:
    """Show every setting, its value, and where that came from."""
    loaded = invocation.loaded
    rows = [(row, row.show(getattr(loaded.config, row.name)), loaded.sources[row.name]) for row in SETTINGS]
    lines: list[list[Cell | str]] = [
        [row.name, value or "-", Cell(source, "dim" if source == "default" else "green"), row.help]
        for row, value, source in rows
    ]
    invocation.output.show(
        data={
            row.name: {"value": value, "source": source, "flag": row.flag, "variable": row.variable, "help": row.help}
            for row, value, source in rows
        },
        ids=[row.name for row in SETTINGS],
        text=invocation.output.table(["SETTING", "VALUE", "FROM", "MEANING"], lines),
    )


@config.command()
@click.pass_obj
def check(invocation: Invocation) -> None:
    """Check the settings; exit code 2 and the remedy if one is wrong."""
    from jobfleet.notify.settings import configured

    configured(invocation.config.notify, os.environ)
    given = {name: source for name, source in invocation.loaded.sources.items() if source != "default"}
    places = ", ".join(sorted(set(given.values())))
    told = f"{count(len(given), 'setting')} given ({places})" if given else "none given"
    invocation.output.show(data={"ok": True, "given": given}, ids=list(given), text=f"The settings are fine: {told}.")


@click.command(cls=Command)
@click.pass_obj
def version(invocation: Invocation) -> None:
    """Print the version."""
    data = {"jobfleet": VERSION, "python": platform.python_version()}
    Output(invocation.form).show(data=data, ids=[VERSION], text=f"jobfleet {VERSION}")
