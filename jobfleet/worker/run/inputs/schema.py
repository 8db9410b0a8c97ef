"""Brings the arguments of a job to the version that its function takes; a job of a later version is parked."""

from __future__ import annotations

import logging

from jobfleet.codec import Limits, amended, recalled
from jobfleet.codec.frames import OpenedEnvelope
from jobfleet.errors import EncodingError, InvalidJob
from jobfleet.functions.options import UPCAST, newer
from jobfleet.outcome import Broken, Unrunnable
from jobfleet.worker.run.handlers import Handler
from jobfleet.worker.run.run import Run

log = logging.getLogger("jobfleet.worker")
NEWER = "newer-schema"


def at_version(
    run: Run, handler: Handler, opened: OpenedEnvelope, limits: Limits
) -> OpenedEnvelope | Broken | Unrunnable:
    """The call with the arguments of the function's version, or the outcome of the run if there is none.

    A process of its own opens the envelope itself, so the run then has an envelope with these arguments.

    Args:
        run: The run.
        handler: Its function.
        opened: Its envelope, with this or another version.
        limits: The limits of arguments.
    """
    function, version = handler.function, opened.header.get("schema", 1)
    if version == handler.version:
        return opened
    if version > handler.version:
        return Unrunnable(newer(function.name, version, f"this worker has {handler.version}"), failed_as=NEWER)
    try:
        args, kwargs = function.schema.upcast(function.name, version, opened.args, opened.kwargs)
        function.fit.check((len(args), *kwargs), args, kwargs)
        if handler.where == "process" or run.is_quarantined:
            envelope = amended(run.grant.envelope, {"schema": handler.version})
            run.grant = run.grant._replace(envelope=recalled(envelope, args, kwargs, limits=limits))
    except EncodingError as error:
        return Broken(f"The upcasts of {function.name} from schema version {version}: {error}", failed_as=UPCAST)
    except InvalidJob as error:
        log.error("job.not_upcast job_id=%s %s", run.id, error, exc_info=error.__cause__, extra={"run": run})
        text = str(error)
        if error.field != UPCAST:
            text = (
                f"The upcasts of {function.name} from schema version {version} to {handler.version} do not fit: {text}"
            )
        return Broken(text, failed_as=UPCAST)
    return opened._replace(args=list(args), kwargs=kwargs)
