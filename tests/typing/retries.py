"""Retry options that must type-check; read by mypy, never run."""

from __future__ import annotations

from datetime import timedelta

from jobfleet import Job, job


@job(retry_delay=[10, "30s", timedelta(minutes=1)], retry_for="1d")
def listed() -> None: ...


def patience(number: int, error: BaseException) -> timedelta:
    return timedelta(seconds=number)


@job(retry_delay=patience)
def patient() -> None: ...


@job(retry_delay=lambda number, error: 2.0**number)
def doubling() -> None: ...


def options_take_delays() -> None:
    listed.options(retry_delay=(1, 2), retry_for=timedelta(days=1)).enqueue()
    Job("Mail", "mail.send", retry_delay="30s", retry_for=60)
    patient.options(retry_delay=patience)  # type: ignore[arg-type]
