"""Uses of `Secret` that must type-check; read by mypy, never run."""

from __future__ import annotations

from typing import assert_type

from jobfleet import JobHandle, Secret, job


@job
def log_in(user: str, password: Secret[str]) -> bool:
    assert_type(password.reveal(), str)
    return bool(user)


assert_type(log_in.enqueue("ann", Secret("hunter2")), JobHandle[bool])
log_in.enqueue("ann", "hunter2")  # type: ignore[arg-type]
log_in.enqueue("ann", Secret(5))  # type: ignore[arg-type]
