"""`jobfleet edit` and `jobfleet dead edit`: new arguments for a job, from flags or from an editor."""

from __future__ import annotations

import os
import sys
import tempfile
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, Self

import click

from jobfleet.cli import fail, form
from jobfleet.cli.commands.job.jobs import full_id, letter_of
from jobfleet.cli.invocation import Invocation
from jobfleet.cli.options import Command, by_option
from jobfleet.cli.output import plain, say
from jobfleet.errors import InvalidJob, JobfleetError
from jobfleet.model import JobResult, JobStatus

if TYPE_CHECKING:
    from jobfleet.model.result import JobDetails
    from jobfleet.operations.jobs.matching.listing import Letter

fresh_option = click.option("--fresh", is_flag=True, help="Repeat the completed steps, too.")
args_option = click.option("--args", metavar="JSON", help="All positional arguments, as a JSON list.")
kwargs_option = click.option("--kwargs", metavar="JSON", help="All named arguments, as a JSON object.")


@dataclass(frozen=True, slots=True)
class Edit:
    """How a kind of job is edited.

    Attributes:
        job_id: The job.
        read: Reads its arguments.
        put: Gives it new arguments, by the keywords `args` and `kwargs`; False if that was refused and reported.
        unchanged: The message after a text that changes nothing.
        meanwhile: What happened if somebody else has edited it.
    """

    job_id: str
    read: Callable[[], Letter | JobDetails[Any]]
    put: Callable[..., bool]
    unchanged: str
    meanwhile: str


@click.command(cls=Command)
@click.argument("id", metavar="ID")
@args_option
@kwargs_option
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
    wanted = _wanted(args, kwargs)
    with invocation.fleet() as fleet:
        job_id = full_id(fleet, id)

        def put(**call: Any) -> bool:
            if fleet.replay(job_id, fresh=fresh, by=by, **call):
                return True
            say(f"{job_id}: the job is open, or did not fail.")
            return False

        kind = Edit(
            job_id,
            partial(letter_of, fleet, job_id),
            put,
            f"Nothing changed; {job_id} stays a dead letter.",
            "edited elsewhere and failed again in the meantime",
        )
        is_done = put(**wanted) if wanted else _by_hand(kind)
    return _report(invocation, job_id, f"Replayed {job_id} with the new arguments.", is_done=is_done)


@click.command("edit", cls=Command)
@click.argument("id", metavar="ID")
@args_option
@kwargs_option
@by_option
@click.pass_obj
def edit_waiting(invocation: Invocation, id: str, args: str | None, kwargs: str | None, by: str | None) -> int:
    """Change the arguments of a waiting job.

    Arguments that are not given stay. Without --args and --kwargs, an editor ($VISUAL, $EDITOR) opens on both. A text
    that is unchanged or empty changes nothing. Exit code 1 if nothing was changed, 3 if there is no such job.

    Values of types that JSON lacks are written as for 'jobfleet dead edit', which edits a dead letter.

    Due time, options, tags, unique key, used retries and completed steps stay as they are.
    """
    wanted = _wanted(args, kwargs)
    with invocation.fleet() as fleet:
        job_id = full_id(fleet, id)

        def put(**call: Any) -> bool:
            if fleet.edit(job_id, by=by, **call):
                return True
            say(_refusal(fleet.poll(job_id)))
            return False

        def read() -> JobDetails[Any]:
            details = fleet.details(job_id)
            if not details.job.status.is_waiting:
                raise JobfleetError(_refusal(details.job))
            return details

        kind = Edit(job_id, read, put, f"Nothing changed; {job_id} keeps its arguments.", "edited elsewhere")
        is_done = put(**wanted) if wanted else _by_hand(kind)
    return _report(invocation, job_id, f"Edited {job_id}.", is_done=is_done)


def _wanted(args: str | None, kwargs: str | None) -> dict[str, Any]:
    """The arguments of the flags; empty for an editor.

    Raises:
        click.UsageError: No flag is given, and there is no terminal.
    """
    if args is None and kwargs is None:
        if not (sys.stdin.isatty() and sys.stdout.isatty()):
            raise click.UsageError("Give --args, --kwargs or both; an editor needs a terminal.")
        return {}
    return {
        "args": None if args is None else form.read_args(args),
        "kwargs": None if kwargs is None else form.read_kwargs(kwargs),
    }


def _refusal(job: JobResult[Any]) -> str:
    hint = " 'jobfleet dead edit' edits a dead letter." if job.status is JobStatus.FAILED else ""
    return f"{job.id} is {job.status}; only a waiting job can be edited.{hint}"


def _report(invocation: Invocation, job_id: str, text: str, *, is_done: bool) -> int:
    done, left = ([job_id], []) if is_done else ([], [job_id])
    invocation.output.show(data={"edited": done, "left": left}, ids=done, text=text if is_done else "")
    return fail.DONE if is_done else fail.FAILED


def _by_hand(kind: Edit) -> bool:
    """Open the editor on a job, again until its text is valid or the user gives up."""
    before = _shown(kind.read())
    with Draft(before) as draft:
        while True:
            click.edit(filename=str(draft.path))
            try:
                text = draft.text()
                wanted = form.read(text) if text.strip() else None
                if wanted is None or form.shown(*wanted) == before:
                    draft.is_wanted = False
                    say(kind.unchanged)
                    return False
                if _shown(kind.read()) != before:
                    say(f"{kind.job_id} was {kind.meanwhile}; check it and edit it again.")
                    return False
                is_done = kind.put(args=wanted[0], kwargs=wanted[1])
            except InvalidJob as error:
                if not _again(error):
                    return False
                continue
            draft.is_wanted = not is_done
            return is_done


def _shown(job: Letter | JobDetails[Any]) -> str:
    """The arguments of a job as a text to edit.

    Raises:
        InvalidJob: The arguments cannot be shown without loss.
    """
    if job.args is None or job.kwargs is None:
        raise InvalidJob(f"The arguments of {job.job.id} cannot be read; give both --args and --kwargs.")
    if job.unknown_zones:
        zones = ", ".join(job.unknown_zones)
        raise InvalidJob(
            f"The arguments of {job.job.id} hold times in {zones}, which this machine does not know; "
            "install tzdata, or give both --args and --kwargs."
        )
    return form.shown(job.args, dict(job.kwargs))


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
