# mypy: ignore-errors
"""Wrong options and arguments. Both type checkers must report each line that says so, and no other line."""

from __future__ import annotations

from datetime import timedelta

import jobfleet as jf
from jobfleet import Fleet, Job, JobContext, JobHandle, job


@job(max_retries="3")  # wrong: a text
def one() -> None: ...


@job(retry=3)  # wrong: max_retries
def two() -> None: ...


@job(priority="urgent")  # wrong: high
async def three() -> None: ...


@job(run_in="cloud")  # wrong: async, thread or process
def four() -> None: ...


@job(user="ann")  # wrong: for one job
def five() -> None: ...


def delay_of(number: int, error: BaseException) -> float:
    return 2.0 * number


def delay_of_one(number: int) -> float:
    return 2.0 * number


@job(retry_delay=delay_of_one)  # wrong: a function of the number and the error
def odd_function() -> None: ...


@job(retry_delay=[10, None])  # wrong: a list of durations
def six() -> None: ...


@job(group="{customer}", concurrency="5")  # wrong: a number
def seven(customer: str) -> None: ...


@job(version="2")  # wrong: a number
def eight() -> None: ...


@job(version=2, upcast={1: delay_of_one})  # wrong: a function of args and kwargs
def nine() -> None: ...


@job(queue="mail", retry_delay=timedelta(seconds=5), timeout=30, tags=["eu"], on_conflict="raise")
def send(ctx: JobContext, to: str, copies: int = 1) -> int:
    return len(to) * copies


def main(fleet: Fleet, ctx: JobContext) -> None:
    send.options(prioritee=3)  # wrong: priority
    send.options(delay="soon")  # wrong: seconds
    send.options(retry_delay=delay_of)  # wrong: only the decorator
    send.options(retry_for=[60])  # wrong: one duration
    Job("Mail", "mail.send", retry_delay=[[10]])  # wrong: a list of durations
    send.options(on_failure=send)  # wrong: it needs an address
    send.options(on_success="mail.sent")  # wrong: a job
    send.options(tags="eu")  # wrong: a list of texts
    send.options(batch=5)  # wrong: only the decorator
    send.options(rate="10/min")  # wrong: only the decorator
    send.options(on_conflict="skip")  # wrong: not one of the four
    send.options(depends_on="mail.0.1")  # wrong: a list
    send.options(delay=timedelta(hours=1), priority=jf.Priority.HIGH).enqueue(7)  # wrong: an address
    send.enqueue("ann", delay=60)  # wrong: options go to .options(…)
    send("ann")  # wrong: a plain call needs the context
    send.function(ctx, b"ann")  # wrong: a text
    Job("Mail", "mail.send", scheduled_at="tomorrow")  # wrong: a datetime
    Job("Mail", "mail.send", "ann")  # wrong: a list of arguments
    Job("Mail", "mail.send", depends_on=[jf.After("mail.0.1", "ignore")])  # wrong: cancel, run or wait
    fleet.job(retry_on="OSError")(one)  # wrong: classes
    fleet.job(keep_last="5")(one)  # wrong: a number
    send.options(durability="eager")  # wrong: fast, replicated or fsync
    send.options(version=2)  # wrong: only the decorator
    send.options(keep_last=5)  # wrong: only the decorator
    fleet.run_worker(slot=5)  # wrong: slots
    Fleet("redis://localhost", leese="30s")  # wrong: lease
    jf.configure(namespace=7)  # wrong: a text
    jf.register_job_function("app.four", four, max_retry=3)  # wrong: max_retries
    text: str | None = fleet.poll(fleet.enqueue(send.job("ann"))).result  # wrong: an int
    bad: JobHandle[str] = send.enqueue("ann")  # wrong: a handle of an int
    fine: JobHandle[object] = send.enqueue("ann", copies=2)
    ctx.checkpoint_sync("row", default=0).upper()  # wrong: an int
    assert text, (bad, fine)
