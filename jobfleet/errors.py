"""The tree of all errors that a caller can meet.

::

    JobfleetError
    ├── ConfigError            a setting, URL or module is wrong: correct it
    │   ├── UnknownQueue       there is no queue of this name
    │   ├── UnknownGroup       there is no group of dead letters with this fingerprint
    │   └── UnknownRescue      there is no such rescue
    ├── InvalidJob             a job or an option is not valid: correct the named field
    │   ├── EncodingError      a value cannot be encoded, or bytes cannot be decoded
    │   │   ├── TypeMismatch   an argument or a result does not fit the annotation of its function
    │   │   ├── EnvelopeTooNew written by a later jobfleet: upgrade this worker
    │   │   ├── BadSignature   changed by somebody without the keys: never run, never returned
    │   │   └── UnknownKey     sealed with a key that this process does not have
    │   └── UnknownParent      depends_on names an unknown job
    ├── JobNotFound            no such job, or its result was deleted
    ├── DuplicateJob           another job holds the unique key
    ├── IdConflict             another request has enqueued a job with this id
    ├── FleetFull              Redis has no memory left for new jobs
    ├── StoreUnavailable       Redis did not reply in time: try again
    │   ├── BufferFull             the producer's local buffer has no room: try again later, or enlarge it
    │   ├── DurabilityUncertain    written, but less durably than requested: repeat with the same id
    │   └── DurabilityUnavailable  the server cannot provide the requested durability
    ├── PayloadUnavailable     the payload store cannot be reached: try again
    ├── PayloadLost            the payload store does not have the payload any more, or it is damaged
    ├── LockTimeout            ctx.lock found no free place in time
    ├── LockConflict           other jobs hold the lock with another limit
    ├── SignalTimeout          ctx.wait_for: the signal did not come in time
    ├── WaitTimeout            the job did not end in time; it is still open
    ├── JobFailed              the awaited job failed
    ├── JobCancelled           the awaited job, or the job that runs here, was cancelled
    ├── JobExpired             the awaited job did not start in time
    └── ScriptContractError    a script returned an unknown reply: a bug of jobfleet
        └── UnreadableData     something beside jobfleet has written what cannot be read

The summary of a class's docstring is its default message. Attributes carry the details.
"""

from __future__ import annotations

import atexit
import gc
import os
import signal
import sys
import warnings
from collections.abc import Callable, Sequence
from pathlib import Path
from types import FrameType


class JobfleetError(Exception):
    """An error in jobfleet."""

    def __init__(self, message: str | None = None) -> None:
        super().__init__(message or (type(self).__doc__ or "").partition("\n\n")[0].strip())

    def __reduce__(self) -> tuple[object, ...]:
        """Pickle the text and attributes, so that a subclass's `__init__` is not called again."""
        return (_revived, (type(self), self.args, self.__dict__))


def _revived(kind: type[JobfleetError], args: tuple[object, ...], facts: dict[str, object]) -> JobfleetError:
    error = kind.__new__(kind, *args)
    error.args = args
    error.__dict__.update(facts)
    return error


class ConfigError(JobfleetError):
    """A setting is wrong, or a module cannot be imported.

    Attributes:
        shown: The traceback of the user's module, if its import failed; otherwise empty.
        field: The name of the wrong argument; empty if the error is not about one.
    """

    shown = ""

    def __init__(self, message: str | None = None, *, field: str = "") -> None:
        super().__init__(message)
        self.field = field


class UnknownQueue(ConfigError, LookupError):
    """There is no such queue.

    Attributes:
        queue: The name.
    """

    def __init__(self, queue: str, message: str | None = None) -> None:
        super().__init__(message or f"No queue {queue!r}.")
        self.queue = queue


class UnknownGroup(ConfigError, LookupError):
    """There is no such group of dead letters, or no strict sequence of this name.

    Attributes:
        fingerprint: The fingerprint, or the name of the sequence.
    """

    def __init__(self, fingerprint: str, message: str | None = None) -> None:
        super().__init__(message or f"No group {fingerprint!r} of dead letters; 'jobfleet dead groups' lists them.")
        self.fingerprint = fingerprint


class UnknownRescue(ConfigError, LookupError):
    """There is no such rescue of dead letters.

    Attributes:
        rescue: The id of the rescue, or the fingerprint of a group that has none.
    """

    def __init__(self, rescue: str, message: str | None = None) -> None:
        super().__init__(message or f"No rescue {rescue!r}; 'jobfleet dead rescues' lists them.")
        self.rescue = rescue


class InvalidJob(JobfleetError, ValueError):
    """A job is not valid.

    Attributes:
        field: The name of the wrong option; empty if the error concerns the whole job.
    """

    def __init__(self, message: str | None = None, *, field: str = "") -> None:
        super().__init__(message)
        self.field = field


class EncodingError(InvalidJob):
    """A value cannot be encoded, or bytes cannot be decoded.

    Attributes:
        path: The location of the value, in Python's syntax (``args[0]['df']``).
    """

    def __init__(self, message: str | None = None, *, field: str = "", path: str = "") -> None:
        super().__init__(message, field=field)
        self.path = path


class TypeMismatch(EncodingError):
    """An argument or a result does not fit the annotation of its function; `path` is like ``order.lines[2].price``."""


class EnvelopeTooNew(EncodingError):
    """A later version of jobfleet wrote the envelope; upgrade workers before producers."""

    def __init__(self, version: int, supported: int) -> None:
        super().__init__(
            f"Envelope version {version} is not supported, this worker reads up to {supported}: job parked; "
            "upgrade workers before producers."
        )
        self.version = version
        self.supported = supported


class BadSignature(EncodingError):
    """Something in Redis is not what a process with the keys wrote about this job; it is neither run nor returned."""

    def __init__(self, message: str | None = None, *, what: str = "") -> None:
        super().__init__(message, field=what, path=what)


class UnknownKey(EncodingError):
    """Something was sealed with a key that this process does not have.

    Attributes:
        kid: The id of the key.
    """

    def __init__(self, kid: str, *, what: str = "value") -> None:
        super().__init__(
            f"{what}: sealed with the key {kid!r:.40}, which the process that reads it does not have; add "
            "it to the keyring there, or set keyring, and restart that process.",
            field=what,
            path=what,
        )
        self.kid = kid


class UnknownParent(InvalidJob):
    """A parent in depends_on is unknown."""


class JobNotFound(JobfleetError, LookupError):
    """No such job, or its result was deleted.

    Attributes:
        job_id: The id of the missing job.
    """

    def __init__(self, job_id: str, message: str | None = None) -> None:
        super().__init__(message or f"No job {job_id!r}: never enqueued, or its result was deleted.")
        self.job_id = job_id


class DuplicateJob(JobfleetError):
    """Another job holds the unique key.

    Attributes:
        holder: The id of the job that holds the key.
    """

    def __init__(self, holder: str, message: str | None = None) -> None:
        super().__init__(message or f"Job {holder!r} holds the unique key.")
        self.holder = holder


class IdConflict(JobfleetError):
    """Another request has enqueued a job with this id.

    Attributes:
        job_id: The id of that job.
    """

    def __init__(self, job_id: str, message: str | None = None) -> None:
        super().__init__(
            message
            or f"{job_id} exists, and was not enqueued by this request, or what it was is not stored any more; give "
            "another id."
        )
        self.job_id = job_id


class FleetFull(JobfleetError):
    """Redis refuses: its memory is full (OOM). Nothing was enqueued; raise maxmemory, or let workers drain queues."""


class StoreUnavailable(JobfleetError, ConnectionError):
    """Redis did not reply in time.

    Attributes:
        node: The node of the cluster that did not reply, while others do; otherwise empty.
    """

    node: str = ""


class BufferFull(StoreUnavailable):
    """The local buffer of this producer is full while Redis is unavailable; the job was not kept.

    Attributes:
        job_id: The id of the job.
    """

    def __init__(self, job_id: str, most: int, message: str | None = None) -> None:
        super().__init__(
            message
            or f"The local buffer holds {most:,} jobs while Redis is unavailable, so {job_id} was not kept. Enqueue it "
            "again when Redis is back, or raise the setting buffer; on_full='drop' drops such jobs without an error."
        )
        self.job_id = job_id


class DurabilityUncertain(StoreUnavailable):
    """The job was written, but less durably than requested; it is safe to repeat with the same id.

    Attributes:
        job_id: The id of the job that may exist.
    """

    def __init__(self, job_id: str, message: str | None = None) -> None:
        super().__init__(message or f"{job_id} was written, but less durably than requested; repeat with this id.")
        self.job_id = job_id


class DurabilityUnavailable(StoreUnavailable):
    """The server cannot provide the requested durability; nothing was written."""


class PayloadUnavailable(JobfleetError, ConnectionError):
    """The payload store cannot be reached, or is not the one that the payload was written to."""


class PayloadLost(JobfleetError, LookupError):
    """The payload store does not have the payload any more, or has other bytes."""


class LockTimeout(JobfleetError, TimeoutError):
    """`ctx.lock` found no free place in time."""


class LockConflict(JobfleetError):
    """Other jobs hold the lock with another limit."""


class SignalTimeout(JobfleetError, TimeoutError):
    """`ctx.wait_for` did not get the signal in time. A retry would not get it either, so the error is PERMANENT.

    Attributes:
        job_id: The job that waited.
        name: The name of the signal.
    """

    def __init__(self, message: str | None = None, *, job_id: str = "", name: str = "") -> None:
        super().__init__(message)
        self.job_id = job_id
        self.name = name


class WaitTimeout(JobfleetError, TimeoutError):
    """The job did not end in time; it is still open.

    Attributes:
        job_id: The awaited job; the first of several.
        timeout: The time limit of the wait, in seconds.
        job_ids: All jobs that are still open.
        why: Why the job has not ended, as `explain` says first; empty if it was not read.
        about: The job that `why` is about; of a flow, its first job that can run.
    """

    def __init__(
        self, job_id: str, timeout: float, *, job_ids: Sequence[str] = (), why: str = "", about: str = ""
    ) -> None:
        self.job_ids: tuple[str, ...] = tuple(job_ids) or (job_id,)
        self.why = why
        self.about: str = about or job_id
        others = len(self.job_ids) - 1
        open_ones = "it is" if not others else f"it and {others:,} {'other is' if others == 1 else 'others are'}"
        text = f"{job_id} did not end within {timeout:g} s; {open_ones} still open."
        if why:
            whose = f"Its job {about}: " if about else "The first: " if others else ""
            text += f" {whose}{why} 'jobfleet explain {self.about}' says more."
        super().__init__(text)
        self.job_id = job_id
        self.timeout = timeout


class _JobEnded(JobfleetError):
    """A job ended without a result."""

    def __init__(self, message: str | None = None, *, job_id: str = "") -> None:
        super().__init__(message)
        self.job_id = job_id


class JobFailed(_JobEnded):
    """The job failed.

    Attributes:
        job_id: The job.
        error_class: The name of the exception's class, if the job raised one.
        traceback: The traceback as text, if there is one.
    """

    def __init__(
        self,
        message: str | None = None,
        *,
        job_id: str = "",
        error_class: str | None = None,
        traceback: str | None = None,
    ) -> None:
        super().__init__(message, job_id=job_id)
        self.error_class = error_class
        self.traceback = traceback


class JobCancelled(_JobEnded):
    """The job was cancelled."""


class JobExpired(_JobEnded):
    """The job did not start in time."""


class ScriptContractError(JobfleetError):
    """A script returned a reply that its contract does not name; please report this bug."""


class UnreadableData(ScriptContractError):
    """Something beside jobfleet has written to a key in Redis, and it cannot be read or repaired here."""


LIBRARY = str(Path(__file__).parent) + os.sep


def warn(message: str, category: type[Warning] = UserWarning) -> None:
    """Issue a warning at the nearest line of the stack that is not in this package.

    Args:
        message: The text.
        category: The class of the warning.
    """
    if sys.version_info >= (3, 12):
        warnings.warn(message, category, skip_file_prefixes=(LIBRARY,))
    else:
        _, level = nearest_frame(lambda frame: not frame.f_code.co_filename.startswith(LIBRARY))
        warnings.warn(message, category, stacklevel=level)


def nearest_frame(is_meant: Callable[[FrameType], bool]) -> tuple[FrameType, int]:
    """Return the nearest frame that is meant, else the outermost one, and its `stacklevel` for a call in the caller."""
    frame, level = sys._getframe(), 0  # noqa: SLF001 - `inspect.stack` reads the source of every frame
    while not is_meant(frame) and frame.f_back is not None:
        frame, level = frame.f_back, level + 1
    return frame, level


EXIT_OK = 0
EXIT_FAILED = 1
EXIT_USAGE = 2
EXIT_NOT_FOUND = 3
EXIT_UNREACHABLE = 4
EXIT_RECYCLED = 5
"""A child that has finished its jobs and asked for a successor."""
EXIT_TIMED_OUT = 124
EXIT_INTERRUPTED = 130


def how_it_died(code: int) -> str:
    """Return the end of a process in words, given its exit code or the negative number of a signal."""
    if code < 0:
        try:
            return f"its process died of {signal.Signals(-code).name}"
        except ValueError:
            return f"its process died of signal {-code}"
    return f"its process exited with code {code}"


def exit_fast() -> None:
    """Let this process end without a search of all its objects for cycles, of which the kernel frees the memory anyway.

    The search of the interpreter takes about a fifth of the processor time of a short command, and of each start and
    end of a worker's child. Called once, by a program and not by a library: `__del__` of an object in a cycle that is
    still there at the end is not called.
    """
    atexit.register(gc.freeze)
