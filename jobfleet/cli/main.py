"""The command `jobfleet`: a group whose commands are imported when they are called."""

from __future__ import annotations

import contextlib
import os
import sys
from collections.abc import Mapping
from importlib import import_module
from io import TextIOWrapper
from typing import IO, Any, ClassVar, NoReturn

import click

from jobfleet.cli import fail
from jobfleet.cli.options import COMPLETE, HELP, Chooser, Command, absorb, global_options
from jobfleet.version import VERSION

SECTIONS: dict[str, dict[str, str]] = {
    "Run": {
        "up": "up:up",
        "worker": "run:worker",
        "reaper": "run:reaper",
        "web": "web:web",
        "demo": "run:demo",
        "bench": "run:bench",
    },
    "Jobs": {
        "enqueue": "enqueue:enqueue",
        "status": "jobs:status",
        "wait": "jobs:wait",
        "watch": "jobs:watch",
        "logs": "jobs:logs",
        "stream": "jobs:stream",
        "explain": "steer:explain",
        "cancel": "jobs:cancel",
        "reschedule": "steer:reschedule",
        "signal": "steer:signal",
        "move": "steer:move",
        "edit": "edit:edit_waiting",
        "forget": "steer:forget",
        "jobs": "jobs:jobs",
        "flow": "flow:flow",
    },
    "Fleet": {
        "queues": "queues:queues",
        "workers": "workers:workers",
        "functions": "functions:functions",
        "dead": "dead:dead",
        "cron": "cron:cron",
        "limits": "limits:limits",
        "groups": "limits:groups",
        "breakers": "limits:breakers",
        "events": "events:events",
        "audit": "events:audit",
        "top": "top:top",
        "stats": "stats:stats",
        "scale": "stats:scale",
        "archive": "archive:archive",
        "outbox": "outbox:outbox",
        "notify": "notify:notify",
        "doctor": "doctor:doctor",
    },
    "Project": {
        "init": "init:init",
        "reproduce": "reproduce:reproduce",
        "completion": "completion:completion",
    },
    "Settings": {
        "config": "settings:config",
        "keys": "keys:keys",
        "acl": "keys:acl",
        "version": "settings:version",
    },
}
"""The module and name of each command, in the order of the help."""

_PLACES = {name: place for section in SECTIONS.values() for name, place in section.items()}


class Main(Chooser):
    """The group of all commands."""

    command_class = Command
    sections = SECTIONS
    elsewhere: ClassVar[Mapping[str, str]] = {"retry": "dead replay", "replay": "dead replay", "requeue": "dead replay"}

    def list_commands(self, _ctx: click.Context) -> list[str]:
        """All names."""
        return list(_PLACES)

    def get_command(self, _ctx: click.Context, cmd_name: str) -> click.Command | None:
        """Import the module of a command."""
        if cmd_name not in _PLACES:
            return None
        module, _, name = _PLACES[cmd_name].partition(":")
        command: click.Command = getattr(import_module(f"jobfleet.cli.commands.{module}"), name)
        return command

    def invoke(self, ctx: click.Context) -> Any:
        """Run the named command, with the flags before its name."""
        absorb(self, ctx)
        return super().invoke(ctx)

    def main(self, *args: Any, **named: Any) -> NoReturn:
        """Run a command, and exit with the code of `fail.run`. The arguments are those of click."""
        if COMPLETE in os.environ:  # a shell asks for candidates
            from jobfleet.cli.commands import completion

            sys.exit(completion.main(self, os.environ))
        for stream in (sys.stdout, sys.stderr):
            _never_refuse(stream)
        named = {"prog_name": "jobfleet", **named, "standalone_mode": False}
        run = super().main
        sys.exit(fail.run(lambda: run(*args, **named)))


def _never_refuse(stream: IO[str]) -> None:
    """Print a character that the terminal's encoding lacks as an escape."""
    if isinstance(stream, TextIOWrapper):
        with contextlib.suppress(ValueError, OSError):
            stream.reconfigure(errors="backslashreplace")


@click.group(
    cls=Main,
    context_settings=HELP,
    epilog=(
        "Exit codes: 0 done, 1 the job or check failed, 2 usage, import or settings, 3 not found, "
        "4 Redis unreachable or refusing, 124 timed out, 130 interrupted."
    ),
)
@click.version_option(VERSION, "-V", "--version", prog_name="jobfleet", message="%(prog)s %(version)s")
def main() -> None:
    """Background jobs on many machines, over one Redis."""


main.params.extend(global_options())
