"""`jobfleet top`: queues, workers and failures, live on a terminal."""

from __future__ import annotations

import os
from contextlib import AbstractContextManager
from datetime import UTC, datetime
from typing import Any, Self

import click

from jobfleet.cli.invocation import Invocation
from jobfleet.cli.keyboard import Keys
from jobfleet.cli.options import TIME, Command
from jobfleet.cli.output import Output, clock
from jobfleet.cli.pulse import Look, Pulse
from jobfleet.cli.schema import job_data, jsonable, queue_data, worker_data
from jobfleet.cli.screen import screen, tables
from jobfleet.errors import ConfigError, StoreUnavailable

LEAST_S = 0.1
QUIT = "qQ"


def _every(_ctx: click.Context, _option: click.Parameter, seconds: float) -> float:
    if seconds < LEAST_S:
        raise click.BadParameter(f"{seconds:g} s is too often; use {LEAST_S:g} or more.")
    return seconds


@click.command(cls=Command)
@click.option("--every", type=TIME, default=1.0, callback=_every, help="Time between two samples. [default 1s]")
@click.option("--once", is_flag=True, help="Print one sample as plain tables.")
@click.pass_obj
def top(invocation: Invocation, every: float, once: bool) -> None:
    """Show queues, workers and the newest failures, live, until q or Ctrl-C.

    WAITING jobs are due, LATER jobs are not due yet. Rates are those of the last 5 seconds. OLDEST is how long the
    first job in line has been due, SLOTS the used and all slots, HEARD the time since the last heartbeat.

    Without a terminal, and with -o json or ids, it prints one sample without rates. Ids are those of the failures.
    """
    output = invocation.output
    is_live = output.is_terminal and output.form == "table" and os.environ.get("TERM") not in {None, "dumb", "unknown"}
    with invocation.fleet() as fleet:
        pulse = Pulse(fleet)
        look = pulse.look()
        if once or not is_live:
            text = tables(output, look, datetime.now(UTC)) if output.form == "table" else ""
            output.show(data=look_data(look), ids=[letter.id for letter in look.failures], text=text)
            return
        with View(output, fleet.store.at.shown, invocation.config.namespace) as view, Keys() as keys:
            while True:
                view.show(look)
                if keys.pressed(QUIT, within=every):
                    return
                try:
                    look = pulse.look()
                    view.trouble = ""
                except StoreUnavailable as error:
                    view.is_away(error, look)


def look_data(look: Look) -> dict[str, object]:
    """A sample as data for JSON: queues with their rates, workers and failures."""
    return {
        "at": jsonable(look.at),
        "queues": [
            {**queue_data(one.queue), "completed_per_second": one.completed, "failed_per_second": one.failed}
            for one in look.queues
        ],
        "workers": [worker_data(worker) for worker in look.workers],
        "failures": [job_data(letter) for letter in look.failures],
    }


class View(AbstractContextManager["View"]):
    """The full-screen view. Leaving the block restores the terminal.

    Args:
        output: Decides whether there are colours.
        url: URL of Redis without its password.
        namespace: Namespace of the fleet.

    Attributes:
        trouble: The reason why the view is stale; empty if it is not.

    Raises:
        ConfigError: rich is not installed.
    """

    def __init__(self, output: Output, url: str, namespace: str) -> None:
        try:
            from rich.console import Console
            from rich.live import Live
            from rich.text import Text
        except ImportError:
            raise ConfigError("The live view needs rich: pip install 'jobfleet[cli]', or --once.") from None
        self._output = output
        self._url = url
        self._title = f"jobfleet  {url}  {namespace}"
        self._text: Any = Text
        self._console = Console(no_color=not output.has_color, highlight=False)
        self._live = Live(console=self._console, screen=True, auto_refresh=False)
        self.trouble = ""

    def is_away(self, error: StoreUnavailable, last: Look) -> None:
        """Keep the last sample on the screen while Redis does not answer, and show its time and the reason."""
        what = str(error).partition(". ")[0].replace(f" at {self._url}", "")  # the title shows the URL
        self.trouble = f"Since {clock(last.at)}: {what}; trying again."

    def show(self, look: Look) -> None:
        """Draw a sample in the current size of the terminal."""
        columns, rows = self._console.size
        lines = screen(
            self._output, look, datetime.now(UTC), columns=columns, rows=rows, title=self._title, trouble=self.trouble
        )
        drawn = self._text.from_ansi("\n".join(lines), no_wrap=True, overflow="crop", end="")
        self._live.update(drawn, refresh=True)

    def __enter__(self) -> Self:
        self._live.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._live.stop()
