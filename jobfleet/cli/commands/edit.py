"""`jobfleet dead edit`: new arguments for a dead letter, from flags or from an editor."""

from __future__ import annotations

import os
import sys
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING, Any, Self

import click

from jobfleet.cli import fail, form
from jobfleet.cli.commands.jobs import full_id, letter_of
from jobfleet.cli.invocation import Invocation
from jobfleet.cli.options import Command, by_option
from jobfleet.cli.output import plain, say
from jobfleet.errors import InvalidJob

if TYPE_CHECKING:
    from jobfleet.fleet.sync import Fleet
    from jobfleet.operations.jobs.listing import Letter

fresh_option = click.option("--fresh", is_flag=True, help="Repeat the completed steps, too.")


@click.command(cls=Command)
@click.argument("id", metavar="ID")
@click.option("--args", metavar="JSON", help="All positional arguments, as a JSON list.")
@click.option("--kwargs", metavar="JSON", help="All named arguments, as a JSON object.")
@fresh_option
@by_option
@click.pass_obj
def edit(invocation: Invocation, id: str, args: str | None, kwargs: str | None, fresh: bool, by: str | None) -> int:
    """Change the arguments of a dead letter and put it back into its queue.

    Arguments that are not given stay. Without --args and --kwargs, an editor ($VISUAL, $EDITOR) opens on both. A text
    that is unchanged or empty changes nothing; the exit code is then 1.

    A value of a type that JSON lacks is an object with one key, such as {"$datetime": "2026-11-25T14:00:00+01:00"} or
    {"$decimal": "9.90"}. An unknown key, such as {"$": 0}, is refused with the list of all of them.

    Name, options, tags, unique key, history and completed steps stay as they are.
    """
    wanted: dict[str, Any] = {
        "args": None if args is None else form.read_args(args),
        "kwargs": None if kwargs is None else form.read_kwargs(kwargs),
    }
    is_by_hand = args is None and kwargs is None
    if is_by_hand and not (sys.stdin.isatty() and sys.stdout.isatty()):
        raise click.UsageError("Give --args, --kwargs or both; an editor needs a terminal.")
    with invocation.fleet() as fleet:
        job_id = full_id(fleet, id)
        if is_by_hand:
            is_done = _by_hand(fleet, letter_of(fleet, job_id), fresh=fresh, by=by)
        else:
            is_done = _put_back(fleet, job_id, fresh=fresh, by=by, **wanted)
    text = f"Replayed {job_id} with the new arguments." if is_done else ""
    done, left = ([job_id], []) if is_done else ([], [job_id])
    invocation.output.show(data={"edited": done, "left": left}, ids=done, text=text)
    return fail.DONE if is_done else fail.FAILED


def _put_back(fleet: Fleet, job_id: str, **how: Any) -> bool:
    if fleet.replay(job_id, **how):
        return True
    say(f"{job_id}: the job is open, or did not fail.")
    return False


def _by_hand(fleet: Fleet, letter: Letter, *, fresh: bool, by: str | None) -> bool:
    """Open the editor on a letter, again until its text is valid or the user gives up."""
    job_id, before = letter.job.id, _shown(letter)
    with Draft(before) as draft:
        while True:
            click.edit(filename=str(draft.path))
            try:
                text = draft.text()
                wanted = form.read(text) if text.strip() else None
                if wanted is None or form.shown(*wanted) == before:
                    draft.is_wanted = False
                    say(f"Nothing changed; {job_id} stays a dead letter.")
                    return False
                if _shown(letter_of(fleet, job_id)) != before:
                    say(f"{job_id} was edited elsewhere and failed again in the meantime; check it and edit it again.")
                    return False
                is_done = _put_back(fleet, job_id, args=wanted[0], kwargs=wanted[1], fresh=fresh, by=by)
            except InvalidJob as error:
                if not _again(error):
                    return False
                continue
            draft.is_wanted = not is_done
            return is_done


def _shown(letter: Letter) -> str:
    """The arguments of a letter as a text to edit.

    Raises:
        InvalidJob: The arguments cannot be shown without loss.
    """
    if letter.args is None or letter.kwargs is None:
        raise InvalidJob(f"The arguments of {letter.job.id} cannot be read; give both --args and --kwargs.")
    if letter.unknown_zones:
        zones = ", ".join(letter.unknown_zones)
        raise InvalidJob(
            f"The arguments of {letter.job.id} hold times in {zones}, which this machine does not know; "
            "install tzdata, or give both --args and --kwargs."
        )
    return form.shown(letter.args, dict(letter.kwargs))


def _again(error: InvalidJob) -> bool:
    """Ask whether to edit a refused text again; the end of the input means no."""
    click.echo(f"{plain(str(error))} Open it again? [Y/n] ", err=True, nl=False)
    answer = sys.stdin.readline()
    if not answer.endswith("\n"):
        click.echo(err=True)
        return False
    return answer.strip().lower() in {"", "y", "yes"}


class Draft:
    """A text in a temporary file for the editor. A changed text that was not used is kept.

    Attributes:
        path: The file; only its owner may read it.
        is_wanted: Whether to keep a changed text.
    """

    def __init__(self, text: str) -> None:
        handle, name = tempfile.mkstemp(prefix="jobfleet-", suffix=".json")
        self.path = Path(name)
        self.is_wanted = True
        self._before = text
        with os.fdopen(handle, "w", encoding="utf-8") as file:
            file.write(text)

    def text(self) -> str:
        """Read the file.

        Raises:
            InvalidJob: It is not UTF-8.
        """
        try:
            return self.path.read_text(encoding="utf-8")
        except UnicodeDecodeError:
            raise form.Misread("The text is not in UTF-8.") from None

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        if self.is_wanted and self.path.read_bytes() not in (b"", self._before.encode()):
            say(f"Your text is kept in {self.path}.")
        else:
            self.path.unlink()
