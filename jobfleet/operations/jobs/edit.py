"""Change the arguments of a waiting job."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from jobfleet.codec import read_header
from jobfleet.errors import InvalidJob, JobNotFound
from jobfleet.operations.fleet_context import FleetContext
from jobfleet.operations.jobs.arguments import Arguments, arguments_of, complete, with_arguments
from jobfleet.operations.operation import Operation, value
from jobfleet.operations.payloads import kept, stow
from jobfleet.store.calls import control, inspect
from jobfleet.store.records import InWait, Unknown


def new_arguments(args: Sequence[object] | None, kwargs: Mapping[str, object] | None) -> Arguments:
    """Check the new arguments of a caller.

    Raises:
        InvalidJob: Neither is given, `args` is not a sequence, or `kwargs` is not a mapping with text keys.
    """
    wanted = arguments_of(args, kwargs)
    if wanted is None:
        raise InvalidJob("Nothing to change; give args, kwargs or both.")
    return wanted


def edit(context: FleetContext, job_id: str, wanted: Arguments, by: str | None) -> Operation[bool]:
    """Replace the arguments of a waiting job; False when it runs or has ended.

    The script compares the envelope that the new one was made from. If it has changed since, it is read again.

    Raises:
        JobNotFound: The job is not known.
        InvalidJob: The function, if this process knows it, does not accept the arguments.
        EncodingError: An argument cannot travel, or the envelope cannot be read or is not accepted.
        PayloadLost, PayloadUnavailable: The payload store does not have the arguments that are kept, or is away.
    """
    lane, word = context.keys.lane_of(job_id), "changed"
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
        envelope = yield from stow(context, job_id, envelope)
        word = value((yield (control.edit(lane, job_id, by=by, expected=found.envelope, envelope=envelope),)))
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
