"""What both handles have in common."""

from __future__ import annotations

from typing import Generic, TypeVar

from jobfleet.errors import (
    JobCancelled,
    JobExpired,
    JobFailed,
    JobfleetError,
    PayloadLost,
    PayloadUnavailable,
    TypeMismatch,
)
from jobfleet.model import JobResult, JobStatus, Receipt

T = TypeVar("T")
T_co = TypeVar("T_co", covariant=True)
LOST: dict[str | None, type[JobfleetError]] = {
    error.__name__: error for error in (PayloadLost, PayloadUnavailable, TypeMismatch)
}
"""The errors of a completed job whose result cannot be had, by `JobResult.error_class`."""


def outcome_of(result: JobResult[T]) -> T:
    """The value of a job that has ended, or what it ended in, raised.

    Raises:
        JobFailed: It failed.
        JobCancelled: It was cancelled.
        JobExpired: It was not started in time.
        PayloadLost, PayloadUnavailable: Its result is in the payload store, and cannot be had.
        TypeMismatch: Its result does not fit the return annotation of its function, as this process knows it.
    """
    match result.status:
        case JobStatus.COMPLETED:
            if result.error_class in LOST:
                raise LOST[result.error_class](f"{result.id} completed, and its result cannot be had: {result.error}")
            return result.result  # type: ignore[return-value]  # None is a value of T here
        case JobStatus.CANCELLED:
            raise JobCancelled(f"{result.id} was {result.error or 'cancelled'}.", job_id=result.id)
        case JobStatus.EXPIRED:
            raise JobExpired(f"{result.id} expired: {result.error}.", job_id=result.id)
        case _:
            raise JobFailed(
                f"{result.id} failed: {result.error_text}",
                job_id=result.id,
                error_class=result.error_class,
                traceback=result.traceback,
            )


class HandleBase(Generic[T_co]):
    """An enqueued job: its id and its receipt."""

    def __init__(self, receipt: Receipt) -> None:
        self.receipt = receipt
        self.id: str = receipt.id
        self.created: bool = receipt.created

    def __str__(self) -> str:
        return self.id

    def __repr__(self) -> str:
        return f"<{type(self).__name__} {self.id}>"

    def __eq__(self, other: object) -> bool:
        return isinstance(other, HandleBase) and other.id == self.id

    def __hash__(self) -> int:
        return hash(self.id)
