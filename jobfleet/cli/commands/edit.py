"""`jobfleet edit` and `jobfleet dead edit`: new arguments for a job, from flags or from an editor."""

from __future__ import annotations

import base64
import json
import math
import os
import sys
import tempfile
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from datetime import date, datetime, time, timedelta
from decimal import Decimal
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, NamedTuple, NoReturn, Self
from uuid import UUID

import click

from jobfleet.cli import fail
from jobfleet.cli.commands.jobs import full_id, letter_of, say_stopped
from jobfleet.cli.invocation import Invocation
from jobfleet.cli.options import Command, by_option
from jobfleet.cli.output import plain, say, to_json
from jobfleet.codec.extensions import BY_TYPE
from jobfleet.errors import InvalidJob, JobfleetError
from jobfleet.model import JobResult, JobStatus
from jobfleet.secret import Secret

if TYPE_CHECKING:
    from jobfleet.model.result import JobDetails
    from jobfleet.operations.jobs.listing import Letter


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
                say_stopped(fleet, [job_id])
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
        "args": None if args is None else read_args(args),
        "kwargs": None if kwargs is None else read_kwargs(kwargs),
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
                wanted = read(text) if text.strip() else None
                if wanted is None or shown(*wanted) == before:
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
    return shown(job.args, dict(job.kwargs))


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
            raise Misread("The text is not in UTF-8.") from None

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        if self.is_wanted and self.path.read_bytes() not in (b"", self._before.encode()):
            say(f"Your text is kept in {self.path}.")
        else:
            self.path.unlink()


# Convert arguments to JSON that a person can edit, and back. A value that is not edited is read back unchanged.
#
# JSON values are written as they are. A value of a type that JSON lacks is an object with one key that begins with
# ``$``, such as ``{"$datetime": "2026-11-25T14:00:00+01:00[Europe/Berlin]"}``. `TYPES` is the only list of these
# types.


MAP: Final = "$map"
REFUSED: Final = (TypeError, ValueError, AttributeError, ArithmeticError)
"""What the constructors of the types raise for wrong content; ``int`` has no ``encode``, a decimal may be too large."""
_MICROSECOND: Final = timedelta(microseconds=1)


class Misread(InvalidJob):
    """The text cannot be converted to arguments."""


class JsonType(NamedTuple):
    """The JSON form of a type that JSON lacks.

    Attributes:
        name: The key of the object.
        type: The exact type.
        write: Converts a value to the JSON content of the object.
        read: The inverse; raises `Misread`, or one of `REFUSED` for other content.
        example: The JSON content of an example, for error messages.
    """

    name: str
    type: type
    write: Callable[[Any], object]
    read: Callable[[Any], object]
    example: str


def _text(kind: type, example: str) -> JsonType:
    """A type that the codec writes as text; its JSON form is the same text."""
    extension = BY_TYPE[kind]
    name = f"${kind.__name__.lower()}"
    return JsonType(
        name, kind, lambda value: extension.dump(value).decode(), lambda text: extension.load(text.encode()), example
    )


def _seconds(value: timedelta) -> str:
    whole, rest = divmod(abs(value) // _MICROSECOND, 1_000_000)
    sign = "-" if value < timedelta(0) else ""
    return f"{sign}{whole}.{rest:06}".rstrip("0").rstrip(".")


def _duration(text: object) -> timedelta:
    exact = Decimal(str(text)) * 1_000_000
    if exact != int(exact):
        raise ValueError
    return int(exact) * _MICROSECOND


def _members(value: Iterable[object]) -> list[object]:
    return sorted((to_plain(item) for item in value), key=json.dumps)


def _distinct(kind: type[Any]) -> Callable[[Any], object]:
    """Make a function that converts a list to a set, and refuses a list with equal items."""

    def make(items: list[Any]) -> object:
        try:
            made = kind(map(from_plain, items))
        except TypeError:
            raise Misread(
                'a set cannot hold lists, sets or dicts; write {"$tuple": […]} or {"$frozenset": […]}.'
            ) from None
        if len(made) < len(items):
            raise Misread("a set holds something twice.")
        return made

    return make


def _map(pairs: list[list[Any]]) -> dict[Any, Any]:
    made = {from_plain(key): from_plain(value) for key, value in pairs}
    if len(made) < len(pairs):
        raise Misread("a dict holds a key twice.")
    return made


def _hide(_secret: object) -> NoReturn:
    raise InvalidJob("The arguments hold a Secret, which is not shown; give both --args and --kwargs.")


TYPES: Final = (
    _text(datetime, '"2026-11-25T14:00:00+01:00"'),
    _text(date, '"2026-11-25"'),
    _text(time, '"14:00:00"'),
    _text(Decimal, '"9.90"'),
    JsonType("$timedelta", timedelta, _seconds, _duration, '"90.5"'),
    JsonType("$uuid", UUID, str, UUID, '"01939f3e-5d5c-7c11-8a55-0242ac120002"'),
    JsonType("$bytes", bytes, lambda value: base64.b64encode(value).decode(),
         lambda text: base64.b64decode(text, validate=True), '"SGVsbG8="'),
    JsonType("$float", float, repr, float, '"nan"'),
    JsonType("$tuple", tuple, lambda value: [*map(to_plain, value)], lambda items: tuple(map(from_plain, items)),
         "[1, 2]"),
    JsonType("$set", set, _members, _distinct(set), "[1, 2]"),
    JsonType("$frozenset", frozenset, _members, _distinct(frozenset), "[1, 2]"),
    JsonType("$secret", Secret, _hide, lambda inner: Secret(from_plain(inner)), '"hunter2"'),
    JsonType(MAP, dict, lambda value: [[to_plain(key), to_plain(item)] for key, item in value.items()], _map,
         '[["$a", 1]]'),
)  # fmt: skip
_BY_TYPE: Final = {one.type: one for one in TYPES}
_BY_NAME: Final = {one.name: one for one in TYPES}
_LISTS: Final = frozenset({"$tuple", "$set", "$frozenset", MAP})


def to_plain(value: Any) -> object:
    """Convert a value to plain JSON values."""
    kind = type(value)
    if value is None or kind in (bool, int, str) or (kind is float and math.isfinite(value)):
        return value
    if kind is list:
        return [*map(to_plain, value)]
    if kind is dict and _is_plain(value):
        return {key: to_plain(item) for key, item in value.items()}
    json_type = _BY_TYPE[kind]
    return {json_type.name: json_type.write(value)}


def _is_plain(value: dict[Any, Any]) -> bool:
    """Whether a dict can be written as a JSON object that is not read as another type."""
    return all(type(key) is str for key in value) and _type_key(value) is None


def _type_key(value: dict[str, Any]) -> str | None:
    (only,) = value if len(value) == 1 else ("",)
    return only if only.startswith("$") else None


def from_plain(shown: Any) -> Any:
    """Convert plain JSON values back; the inverse of `to_plain`.

    Raises:
        Misread: A key with ``$`` is not known, or its content is wrong.
    """
    if type(shown) is list:
        return [*map(from_plain, shown)]
    if type(shown) is not dict:
        return shown
    name = _type_key(shown)
    if name is None:
        return {key: from_plain(item) for key, item in shown.items()}
    json_type = _BY_NAME.get(name)
    if json_type is None:
        known = ", ".join(_BY_NAME)
        raise Misread(f'{name!r} is none of {known}; write a dict with this key as {{"{MAP}": [["{name}", …]]}}.')
    inner = shown[name]
    try:
        if name in _LISTS and type(inner) is not list:
            raise TypeError
        return json_type.read(inner)
    except Misread:
        raise
    except REFUSED:
        raise Misread(f'{name} holds {to_json(inner):.60}; write {{"{name}": {json_type.example}}}.') from None


def shown(args: Sequence[Any], kwargs: dict[str, Any]) -> str:
    """Write arguments as JSON text for the editor."""
    call = {"args": [*map(to_plain, args)], "kwargs": {name: to_plain(value) for name, value in kwargs.items()}}
    return to_json(call, indent=2) + "\n"


def read(text: str) -> tuple[list[Any], dict[str, Any]]:
    """Read the text of the editor; the inverse of `shown`.

    Raises:
        Misread: The text is not JSON, or does not have args and kwargs. The message has the line and the column, or
            the place of the value.
    """
    call = _parsed(text, "Text")
    if not isinstance(call, dict) or set(call) != {"args", "kwargs"}:
        raise Misread('The text does not have exactly args and kwargs; write {"args": […], "kwargs": {…}}.')
    return _list_of(call["args"]), _names_of(call["kwargs"])


def read_args(text: str) -> list[Any]:
    """Read positional arguments from a JSON list.

    Raises:
        Misread: The text is not a JSON list of arguments.
    """
    return _list_of(_parsed(text, "args"))


def read_kwargs(text: str) -> dict[str, Any]:
    """Read named arguments from a JSON object.

    Raises:
        Misread: The text is not a JSON object of arguments.
    """
    return _names_of(_parsed(text, "kwargs"))


def _list_of(value: Any) -> list[Any]:
    if not isinstance(value, list):
        raise Misread(f'args is {to_json(value):.60}; give a JSON list, for example [20, "ann"].', field="args")
    return [_placed(item, f"args[{index}]") for index, item in enumerate(value)]


def _names_of(value: Any) -> dict[str, Any]:
    if not isinstance(value, dict):
        raise Misread(
            f'kwargs is {to_json(value):.60}; give a JSON object, for example {{"to": "ann"}}.', field="kwargs"
        )
    return {name: _placed(item, f"kwargs[{name!r}]") for name, item in value.items()}


def _placed(value: Any, place: str) -> Any:
    try:
        return from_plain(value)
    except Misread as error:
        raise Misread(f"{place}: {error}", field=place.partition("[")[0]) from None
    except RecursionError:
        raise Misread(f"{place}: nested too deep.", field=place.partition("[")[0]) from None


def _parsed(text: str, what: str) -> Any:
    try:
        return json.loads(text, object_pairs_hook=_object, parse_constant=_refuse)
    except json.JSONDecodeError as error:
        raise Misread(f"{what}, line {error.lineno}, column {error.colno}: {error.msg}.") from None
    except RecursionError:
        raise Misread(f"{what}: nested too deep.") from None
    except InvalidJob:
        raise
    except ValueError as error:
        raise Misread(f"{what}: a number is too long ({str(error).partition(';')[0]}).") from None


def _object(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    made = dict(pairs)
    if len(made) < len(pairs):
        names = [name for name, _ in pairs]
        twice = next(name for name in names if names.count(name) > 1)
        raise Misread(f"The key {twice!r} occurs twice in one object.")
    return made


def _refuse(word: str) -> NoReturn:
    raise Misread(f'{word} is not JSON; write {{"$float": "{word.lower().removesuffix("inity")}"}}.')
