"""`jobfleet dead triage`: walk through the groups of dead letters on a terminal, and decide about each."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from datetime import UTC, datetime
from typing import TYPE_CHECKING

import click

from jobfleet.cli import fail
from jobfleet.cli.invocation import Invocation
from jobfleet.cli.options import Command, by_option
from jobfleet.cli.output import Output, say
from jobfleet.cli.terminal.frame import Extent
from jobfleet.cli.terminal.full_screen import FullScreen, is_drawable
from jobfleet.cli.terminal.lines import stale_since
from jobfleet.cli.terminal.loop import run
from jobfleet.cli.triage.act import do, groups_of, read
from jobfleet.cli.triage.page import frame
from jobfleet.cli.triage.press import press
from jobfleet.cli.triage.state import Act, Seen, State, ended, summary
from jobfleet.errors import StoreUnavailable

if TYPE_CHECKING:
    from jobfleet.fleet.sync import Fleet

EVERY_S = 2.0
"""Time between two reads of the group that is shown, in seconds."""


@click.command(cls=Command)
@click.option("--queue", metavar="NAME", help="Only dead letters of this queue.")
@click.option("--all", "every", is_flag=True, help="Also groups that are resolved or ignored.")
@by_option
@click.pass_obj
def triage(invocation: Invocation, queue: str | None, every: bool, by: str | None) -> int:
    """Walk through the groups on a terminal: see the traceback, and replay, rescue, resolve or ignore each.

    Regressed groups come first, then new ones. A rescue concerns the group in all queues. Each decision is asked
    first. ? shows the keys, q quits; then it prints what was decided.
    """
    output = invocation.output
    if not is_drawable(output) or not sys.stdin.isatty():
        raise click.UsageError("Triage requires a terminal; 'dead groups' lists the groups for programs.")
    with invocation.fleet() as fleet:
        groups = groups_of(fleet, queue, every=every)
        if not groups:
            say("No dead letters to decide about.")
            return fail.DONE
        shown = Triage(fleet, output, [row.fingerprint for row in groups], queue, by)
        shown.read()
        try:
            with FullScreen() as screen:
                run(screen, shown, every=EVERY_S)
        except KeyboardInterrupt:
            output.line(summary(shown.state))
            raise
    output.line(summary(shown.state))
    return fail.DONE


class Triage:
    """Connects the state of a triage with a fleet.

    Args:
        fleet: The fleet.
        output: Decides whether there are colours.
        groups: The fingerprints, in the order of the walk.
        queue: Only letters of this queue; None for all.
        by: The person, for the record.

    Attributes:
        state: The state of the screen.
        is_stale: Whether another group is shown than was read.
    """

    def __init__(self, fleet: Fleet, output: Output, groups: Sequence[str], queue: str | None, by: str | None) -> None:
        self._fleet = fleet
        self._output = output
        self._queue = queue
        self._by = by
        self._seen = Seen()
        self._at = datetime.now(UTC)
        self._extent = Extent(1)
        self._trouble = ""
        self.state = State(groups)
        self._act: Act | None = None
        self.is_stale = False

    @property
    def is_due(self) -> bool:
        """Whether an act is to be done."""
        return self._act is not None

    def read(self) -> None:
        """Read the group. While Redis does not answer, keep what was read last, with its time and the reason."""
        self.is_stale = False
        try:
            self._seen = read(self._fleet, self.state.fingerprint, self._queue)
            self._at, self._trouble = datetime.now(UTC), ""
        except StoreUnavailable as error:
            self._trouble = stale_since(self._at, error, self._fleet.store.at.shown)

    def frame(self, columns: int, rows: int) -> Sequence[str]:
        """The screen for this size of the terminal."""
        now = datetime.now(UTC)
        drawn = frame(self._output, self.state, self._seen, now, columns=columns, rows=rows, trouble=self._trouble)
        self._extent = drawn.extent
        return drawn.lines

    def press(self, key: str) -> bool:
        """Press a key; return whether this ends the command."""
        step = press(self.state, key, self._seen, self._extent)
        is_same = step.state.place == self.state.place
        self.state, self._act, self.is_stale = step.state, step.act, not is_same
        return step.is_over

    def act(self) -> None:
        """Do what was decided, and go to the next group."""
        if self._act is not None:
            self.state = ended(self.state, self._act, do(self._fleet, self._act, self._queue, self._by))
            self._act, self.is_stale = None, True
