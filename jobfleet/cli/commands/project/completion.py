"""`jobfleet completion`."""

from __future__ import annotations

import click

from jobfleet.cli.completion.scripts import SCRIPTS
from jobfleet.cli.options import Command


@click.command(cls=Command)
@click.argument("shell", type=click.Choice(list(SCRIPTS)), metavar="bash|zsh|fish")
def completion(shell: str) -> None:
    r"""Print the script with which a shell completes commands, options, queues, functions, workers and jobs.

    Load it in each shell with a line in its start file:

    \b
      bash   source <(jobfleet completion bash)
      zsh    source <(jobfleet completion zsh)
      fish   jobfleet completion fish | source

    Values are read from Redis if it answers within a second. Errors are never shown.
    """
    click.echo(SCRIPTS[shell], nl=False)
