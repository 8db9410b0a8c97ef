"""New arguments for a job that exists: what a caller may give, and the envelope that has them. Pure."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

from jobfleet.codec import Limits, amended, open_envelope, read_header, recalled, zones_lost
from jobfleet.errors import EncodingError, InvalidJob
from jobfleet.functions.options import newer
from jobfleet.functions.registry import JobFunction, Registry
from jobfleet.model import Job


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
        raise InvalidJob(newer(function.name, have, f"this program has {version}"), field="args")
    if wanted.keeps_some:
        opened = open_envelope(envelope, limits=limits)
        _check_is_kept(envelope)
        args, kwargs = function.schema.upcast(function.name, have, opened.args, opened.kwargs)
        envelope = recalled(envelope, args, kwargs, limits=limits)
    return amended(envelope, {"schema": version})
