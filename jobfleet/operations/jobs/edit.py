"""Change the arguments of a waiting job."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

from jobfleet.codec import Limits, amended, open_envelope, read_header, recalled, zones_lost
from jobfleet.errors import EncodingError, InvalidJob, JobNotFound
from jobfleet.functions.options import too_new
from jobfleet.functions.registry import JobFunction, Registry
from jobfleet.model import Job
from jobfleet.model.life import names_word
from jobfleet.operations.fleet_context import FleetContext
from jobfleet.operations.jobs.cancel import OF_JOB, state_of
from jobfleet.operations.operation import Operation, value
from jobfleet.operations.payloads import kept, stow
from jobfleet.operations.verb import Id, JsonList, JsonObject, verb
from jobfleet.store.calls import control, inspect
from jobfleet.store.records import InWait, Unknown


def named(_before: Mapping[str, Any], values: Mapping[str, Any]) -> dict[str, Any]:
    """Which arguments are given, for the audit: their number and their names, and none of the values."""
    args, kwargs = values["args"], values["kwargs"]
    found: dict[str, Any] = {"fresh": True} if values.get("fresh") else {}
    if isinstance(args, Sequence):
        found["positional"] = len(args)
    if isinstance(kwargs, Mapping):
        found["named"] = sorted(map(str, kwargs))
    return found


@verb(
    "edit", recorded="job.edit", route="/jobs/{id}/edit", before=state_of, change=named, done="It was changed.",
    unchanged="Nothing was changed: it runs, or has ended.", **OF_JOB,
)  # fmt: skip
def edit(
    context: FleetContext,
    job_id: Id,
    args: JsonList | None = None,
    kwargs: JsonObject | None = None,
    *,
    by: str | None = None,
) -> Operation[bool]:
    """Change the arguments of a waiting job.

    Everything else stays: options, tags, due time, used retries, completed steps, and the unique key. A dead letter is
    replayed with other arguments.

    Args:
        job_id: The id of the job.
        args: All positional arguments, in JSON a list; default the present ones.
        kwargs: All named arguments, in JSON an object; default the present ones.

    Returns:
        False if it runs or has ended; nothing is changed then.

    Raises:
        JobNotFound: The job is not known.
        InvalidJob: Neither is given, or the function, if this process knows it, does not accept the arguments.
        EncodingError: An argument cannot travel, or the envelope cannot be read or is not accepted.
        PayloadLost, PayloadUnavailable: The payload store does not have the arguments that are kept, or is away.
    """
    wanted = arguments_of(args, kwargs)
    if wanted is None:
        raise InvalidJob("Nothing to change; give args, kwargs or both.")
    lane, word = context.keys.lane_of(job_id), "changed"  # since the envelope was read that the new one is made from
    while word == "changed":
        _, (found,) = value((yield (inspect.stored_status(lane, (job_id,)),)))
        if isinstance(found, Unknown):
            raise JobNotFound(job_id)
        if not isinstance(found, InWait):
            return False
        opened = found.envelope if lane.seals is None else lane.seals.open_envelope(job_id, found.envelope)
        before = (yield from kept(context, opened)) if wanted.keeps_some else opened
        envelope = _edited(context, before, wanted)
        if envelope == before:
            return True
        changed = changed_in(context, before, envelope)
        envelope = yield from stow(context, job_id, envelope)
        call = control.edit(lane, job_id, by=by, expected=found.envelope, envelope=envelope, changed=changed)
        word = value((yield (call,)))
    if word == "unknown":
        raise JobNotFound(job_id)
    return bool(word == "edited")


def _edited(context: FleetContext, envelope: bytes, wanted: Arguments) -> bytes:
    edited = with_arguments(envelope, wanted, context.limits, context.registry)
    function = context.registry.get(str(read_header(envelope).get("function", "")))
    if function is not None:
        args, kwargs = complete(edited, wanted, context.limits)
        function.fit.check((len(args), *kwargs), args, kwargs)
    return edited


class Arguments(NamedTuple):
    """The new arguments of a job.

    Attributes:
        args: The positional arguments; None to keep them.
        kwargs: The named arguments; None to keep them.
    """

    args: Sequence[Any] | None
    kwargs: Mapping[str, Any] | None

    @property
    def keeps_some(self) -> bool:
        """Whether some of the present arguments stay."""
        return self.args is None or self.kwargs is None


def arguments_of(args: Sequence[object] | None, kwargs: Mapping[str, object] | None) -> Arguments | None:
    """Check the new arguments of a caller; None when neither is given.

    Raises:
        InvalidJob: `args` is not a sequence, or `kwargs` is not a mapping with text keys.
    """
    if args is None and kwargs is None:
        return None
    call = Job("arguments", "arguments", () if args is None else args, {} if kwargs is None else kwargs)
    return Arguments(None if args is None else tuple(call.args), None if kwargs is None else call.kwargs)


def complete(envelope: bytes, wanted: Arguments, limits: Limits) -> tuple[Sequence[Any], Mapping[str, Any]]:
    """Return all arguments of a call: the new ones, and those of its envelope that are kept.

    Raises:
        EncodingError: Arguments are kept, and cannot be read or would lose a time zone.
    """
    args, kwargs = wanted
    if args is None or kwargs is None:
        opened = open_envelope(envelope, limits=limits)
        _check_is_kept(envelope)
        args = opened.args if args is None else args
        kwargs = opened.kwargs if kwargs is None else kwargs
    return args, kwargs


def with_arguments(envelope: bytes, wanted: Arguments, limits: Limits, registry: Registry) -> bytes:
    """Return the envelope with new arguments; in its header, at most the version of the arguments changes.

    If this process knows the function, the new arguments are of the version that it knows. Otherwise they are of the
    version that the job has.

    Raises:
        InvalidJob: The job has a later version of the arguments than this process, or an earlier one that cannot be
            upcast.
        EncodingError: An argument cannot travel, or arguments are kept and cannot be read.
        TypeMismatch: An argument does not fit the annotation of the function, if this process knows it.
    """
    header = read_header(envelope)
    function = registry.get(str(header.get("function", "")))
    if function is not None and header.get("schema", 1) != function.schema.version:
        envelope = _at_version(envelope, function, wanted, limits)
    args, kwargs = complete(envelope, wanted, limits)
    if function is not None and function.typed is not None:
        function.fit.check((len(args), *kwargs), args, kwargs)
        args, kwargs = function.typed.dump(args, kwargs, may_be_json=True)
    return recalled(envelope, args, kwargs, limits=limits)


def changed_in(context: FleetContext, before: bytes, after: bytes) -> str:
    """Return the names of the arguments that differ between two envelopes, as one word, for the life of the job.

    It is empty if one of them cannot be read here. With encryption it names no argument: the word is clear text.
    """
    try:
        old, new = open_envelope(before, limits=context.limits), open_envelope(after, limits=context.limits)
    except EncodingError:
        return ""
    places = max(len(old.args), len(new.args))
    positional = [f"args[{n}]" for n in range(places) if old.args[n : n + 1] != new.args[n : n + 1]]
    gone = object()
    keys = dict.fromkeys((*old.kwargs, *new.kwargs))
    named_ones = [key for key in keys if old.kwargs.get(key, gone) != new.kwargs.get(key, gone)]
    seals = context.keys.seals
    if seals is not None and seals.hides:
        return ",".join([*(["args"] if positional else []), *(["kwargs"] if named_ones else [])])
    return names_word([*positional, *named_ones])


def _check_is_kept(envelope: bytes) -> None:
    """Check that the arguments that are kept stay as they are.

    Raises:
        EncodingError: They hold a time in a zone that this machine does not know, so the zone would be lost.
    """
    lost = zones_lost(envelope)
    if lost:
        zones = ", ".join(lost)
        raise EncodingError(
            f"args, kwargs: times in {zones}, which this machine does not know; give both, or install tzdata.",
            field="args",
            path="args",
        )


def _at_version(envelope: bytes, function: JobFunction[..., Any, Any], wanted: Arguments, limits: Limits) -> bytes:
    """The envelope with the version of the arguments that a function takes."""
    have, version = read_header(envelope).get("schema", 1), function.schema.version
    if have > version:
        raise InvalidJob(too_new(function.name, have, f"this program has {version}"), field="args")
    if wanted.keeps_some:
        opened = open_envelope(envelope, limits=limits)
        _check_is_kept(envelope)
        args, kwargs = function.schema.upcast(function.name, have, opened.args, opened.kwargs)
        envelope = recalled(envelope, args, kwargs, limits=limits)
    return amended(envelope, {"schema": version})
