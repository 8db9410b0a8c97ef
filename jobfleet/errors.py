"""Every error a caller can meet, in one tree.

::

    JobfleetError
    ├── ConfigError            a setting, URL or module is wrong: fix it
    ├── InvalidJob             a job or an option is refused: fix the named field
    │   ├── EncodingError      a value cannot travel, or bytes cannot be read
    │   │   └── EnvelopeTooNew written by a later jobfleet: upgrade this worker
    │   └── UnknownParent      depends_on names a job nobody knows
    ├── JobNotFound            no such job, or its result has been let go
    ├── DuplicateJob           the unique key is held by another job
    ├── FleetFull              Redis has no memory left for new jobs
    ├── StoreUnavailable       Redis did not answer in time: try again
    │   ├── DurabilityUncertain    written, but not as safely as asked: repeat with the same id
    │   └── DurabilityUnavailable  the server cannot give the durability asked for
    ├── WaitTimeout            the job did not end in time; it goes on
    ├── JobFailed              the job awaited has failed
    ├── JobCancelled           the job awaited, or the one running here, was cancelled
    ├── JobExpired             the job awaited was not started in time
    └── ScriptContractError    a script answered something unknown: a bug of jobfleet

The first lines of a class's docstring are its default message; attributes carry the facts.
"""

from __future__ import annotations


class JobfleetError(Exception):
    """Something went wrong in jobfleet."""

    def __init__(self, message: str | None = None) -> None:
        super().__init__(message or (type(self).__doc__ or "").partition("\n\n")[0].strip())

    def __reduce__(self) -> tuple[object, ...]:
        """Travel by text and facts: a subclass's own arguments are not asked for again."""
        return (_revived, (type(self), self.args, self.__dict__))


def _revived(kind: type[JobfleetError], args: tuple[object, ...], facts: dict[str, object]) -> JobfleetError:
    error = kind.__new__(kind, *args)
    error.args = args
    error.__dict__.update(facts)
    return error


class ConfigError(JobfleetError):
    """A setting is wrong."""


class InvalidJob(JobfleetError, ValueError):
    """A job was refused.

    Attributes:
        field: The name of the option at fault, empty when it is the job as a whole.
    """

    def __init__(self, message: str | None = None, *, field: str = "") -> None:
        super().__init__(message)
        self.field = field


class EncodingError(InvalidJob):
    """A value cannot travel, or bytes cannot be read.

    Attributes:
        path: Where the offending value stands, as Python would spell it (``args[0]['df']``).
    """

    def __init__(self, message: str | None = None, *, field: str = "", path: str = "") -> None:
        super().__init__(message, field=field)
        self.path = path


class EnvelopeTooNew(EncodingError):
    """The envelope was written by a later jobfleet; upgrade workers before producers."""

    def __init__(self, version: int, supported: int) -> None:
        super().__init__(
            f"Envelope version {version}, this worker reads up to {supported}: parked; "
            "upgrade workers before producers."
        )
        self.version = version
        self.supported = supported


class UnknownParent(InvalidJob):
    """A parent in depends_on is unknown."""


class JobNotFound(JobfleetError, LookupError):
    """No such job, or its result has been let go.

    Attributes:
        job_id: The id that was asked for.
    """

    def __init__(self, job_id: str, message: str | None = None) -> None:
        super().__init__(message or f"No job {job_id!r}: never enqueued, or its result has been let go.")
        self.job_id = job_id


class DuplicateJob(JobfleetError):
    """The unique key is held by another job.

    Attributes:
        holder: The id of the job that holds the key.
    """

    def __init__(self, holder: str, message: str | None = None) -> None:
        super().__init__(message or f"The unique key is held by {holder!r}.")
        self.holder = holder


class FleetFull(JobfleetError):
    """Redis has no memory left for new jobs; nothing was enqueued. Raise maxmemory or let workers drain."""


class StoreUnavailable(JobfleetError, ConnectionError):
    """Redis did not answer in time."""


class DurabilityUncertain(StoreUnavailable):
    """Written, but not as safely as asked; repeating with the same id is safe.

    Attributes:
        job_id: The id of the job that may exist.
    """

    def __init__(self, job_id: str, message: str | None = None) -> None:
        super().__init__(message or f"{job_id} was written, but not as safely as asked; repeat it with the same id.")
        self.job_id = job_id


class DurabilityUnavailable(StoreUnavailable):
    """The server cannot give the durability asked for; nothing was written."""


class WaitTimeout(JobfleetError, TimeoutError):
    """The job did not end in time; it goes on.

    Attributes:
        job_id: The job awaited.
        timeout: How long it was awaited, in seconds.
    """

    def __init__(self, job_id: str, timeout: float) -> None:
        super().__init__(f"{job_id} did not end within {timeout:g} s; it goes on.")
        self.job_id = job_id
        self.timeout = timeout


class _JobEnded(JobfleetError):
    """A job ended without a value."""

    def __init__(self, message: str | None = None, *, job_id: str = "") -> None:
        super().__init__(message)
        self.job_id = job_id


class JobFailed(_JobEnded):
    """The job has failed.

    Attributes:
        job_id: The job.
        error_class: The name of the exception's class, if one was raised.
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
    """The job was not started in time."""


class ScriptContractError(JobfleetError):
    """A script answered something its contract does not name; please report this."""
