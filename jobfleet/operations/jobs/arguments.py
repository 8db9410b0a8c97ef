"""New arguments for a job that exists: what a caller may give, and the envelope that has them. Pure."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

from jobfleet.codec import Limits, open_envelope, recalled, zones_lost
from jobfleet.errors import EncodingError
from jobfleet.model import Job


class Arguments(NamedTuple):
    """The new arguments of a job.

    Attributes:
        args: The positional arguments; None to keep them.
        kwargs: The named arguments; None to keep them.
    """

    args: Sequence[Any] | None
    kwargs: Mapping[str, Any] | None


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


def with_arguments(envelope: bytes, wanted: Arguments, limits: Limits) -> bytes:
    """Return the envelope with new arguments; its header stays as it is.

    Raises:
        EncodingError: An argument cannot travel, or arguments are kept and cannot be read.
    """
    return recalled(envelope, *complete(envelope, wanted, limits), limits=limits)


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
