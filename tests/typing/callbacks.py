"""Callbacks that must type-check; read by mypy, never run."""

from __future__ import annotations

from jobfleet import Job, JobContext, job


@job
def alert(ctx: JobContext, severity: str = "high") -> None: ...


@job
async def notify(ctx: JobContext, to: str) -> None: ...


@job(on_failure=alert, on_success=notify.job("ann"))
def pay(cents: int) -> int:
    return cents


def options_take_callbacks() -> None:
    pay.options(on_success=alert).enqueue(5)
    Job("Pay", "app.pay", on_failure=alert.job("low"), on_success=Job("Tell", "app.tell"))
    Job("Pay", "app.pay", on_failure=notify)  # type: ignore[arg-type]
