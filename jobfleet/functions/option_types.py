"""The options of ``@job(…)``: those of its jobs, and those of the function itself."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

from jobfleet.functions.schema import Upcast
from jobfleet.model.option_types import DelayFunction, RetryDelay, Seconds, SharedOptions

if TYPE_CHECKING:
    from jobfleet.cron import Cron
    from jobfleet.functions.limiting.gates import Breaker, Limit


class UnnamedOptions(SharedOptions, total=False):
    """What ``@job(…)`` takes besides the name; see `JobDecorator`.

    Attributes:
        cron: The schedule of a recurring job: an expression, or a `Cron`.
        retry_delay: Seconds, a list of them, or a function of the number of the retry and the error.
        keep_last: How many of the ended jobs keep their results, per queue; the results of earlier ones are removed.
        retry_on: Exceptions after which the job is retried, even if the default is not to retry.
        discard_on: Exceptions after which the job is not retried.
        memory_limit: Memory of a process, in bytes or as a text such as ``512MiB``.
        cpu_limit: CPU seconds of a run.
        nice: How far the scheduling priority is lowered, 0 to 19.
        environment: Environment variables of a process.
        on_oom: The queue in which a job that ran out of memory continues.
        concurrency: The most jobs that run at once: of each group, or of the function's own queue.
        rate: The most of them that start per period, such as ``10/min``, or a number per second.
        limits: Named limits that its jobs share with those of other functions and queues: names, and `Limit`.
        breaker: The circuit breaker that stops its jobs while too many of them fail.
        version: The version of the function's arguments; 1 if it is not given.
        upcast: Functions of ``(args, kwargs)`` that return the arguments of the next version, by their version.
    """

    cron: str | Cron | None
    keep_last: int | None
    retry_delay: RetryDelay | DelayFunction | None
    retry_on: tuple[type[BaseException], ...]
    discard_on: tuple[type[BaseException], ...]
    memory_limit: int | str | None
    cpu_limit: Seconds | None
    nice: int | None
    environment: Mapping[str, str] | None
    on_oom: str | None
    concurrency: int | None
    rate: str | float | None
    limits: Sequence[str | Limit] | None
    breaker: Breaker | None
    version: int | None
    upcast: Mapping[int, Upcast] | None


class FunctionOptions(UnnamedOptions, total=False):
    """What ``@job(…)`` takes.

    Attributes:
        name: The name on the wire.
    """

    name: str | None


class RegisteredOptions(UnnamedOptions, total=False):
    """What `register_job_function` takes besides the name.

    Attributes:
        batch: The most jobs whose values the function receives in one list.
        batch_wait: How long a batch waits for more jobs.
    """

    batch: int | None
    batch_wait: Seconds | None
