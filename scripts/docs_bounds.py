"""The page of all bounds, for scripts/docs: each row names the constant that the code obeys, so that no figure is copied."""
# ruff: noqa: E501  (a row is a line, as on the page)

from __future__ import annotations

import importlib
from collections.abc import Callable, Iterable
from datetime import timedelta
from typing import Any

DAY = 86_400


def count(value: float) -> str:
    """A number, with its thousands set apart."""
    return f"{value:,.0f}"


def size(value: float) -> str:
    """A number of bytes."""
    for unit, factor in (("MiB", 1 << 20), ("KiB", 1 << 10)):
        if value >= factor and not value % factor:
            return f"{value / factor:g} {unit}"
    return f"{value:,} bytes"


def days(value: float | timedelta) -> str:
    """A time in days, from seconds."""
    seconds = value.total_seconds() if isinstance(value, timedelta) else value
    number = seconds / DAY
    return f"{number:,.0f} days" if number > 1 else "1 day"


def of_ms(value: float) -> str:
    """A time in days, from milliseconds."""
    return days(value / 1000)


def letters(value: float) -> str:
    """A length of a text."""
    return f"{value:,} characters"


REFUSED = "refused"
CUT = "the rest is left out"
OLDEST = "the oldest is removed"

Row = tuple[str, str, Callable[[Any], str], str]
"""What is bounded, the constant as ``module:NAME``, how it is written, and what happens beyond it."""

ROWS: dict[str, tuple[Row, ...]] = {
    "jobs": (
        ("id with its queue and lane, as it is stored", "model.spec:ID_BYTES", size, REFUSED),
        ("`name`, `user`, `session`, `owner_team` and other labels", "model.option_checks:LABEL_LENGTH_MAX", letters, REFUSED),
        ("`tags`", "model.option_checks:TAGS_MAX", count, REFUSED),
        ("one tag", "model.option_checks:TAG_LENGTH_MAX", letters, REFUSED),
        ("`group`", "model.templates:GROUP_LENGTH_MAX", letters, REFUSED),
        ("a unique key", "model.templates:KEY_LENGTH_MAX", letters, REFUSED),
        ("`metadata`, encoded", "operations.jobs.prepare:METADATA_LIMITS.max_bytes", size, REFUSED),
        ("arguments or a result, encoded", "codec.values:DEFAULT.max_bytes", size, "refused; `max_payload` or a [payload store](../howto/large-payloads.md) allows more"),
        ("levels of lists and maps in a value", "codec.values:DEFAULT.max_depth", count, REFUSED),
        ("lists and maps in a value", "codec.values:DEFAULT.max_containers", count, REFUSED),
        ("`max_retries`, `max_crashes`", "model.option_checks:COUNT_MAX", count, REFUSED),
        ("delays in a list for `retry_delay`", "clock:DELAYS_MAX", count, REFUSED),
        ("durations, such as `delay` and `timeout`", "clock:LONGEST", days, REFUSED),
        ("parents of a job", "model.flow:PARENTS_MOST", count, REFUSED),
    ),
    "functions": (
        ("`keep_last`", "functions.options:KEEP_LAST_MAX", count, REFUSED),
        ("`version`", "functions.options:VERSION_MAX", count, REFUSED),
        ("`batch`", "functions.batch:MOST", count, REFUSED),
        ("`batch_wait`", "functions.batch:LONGEST_WAIT", lambda value: f"{value:,.0f} s", REFUSED),
        ("named limits of a function", "functions.limiting:MOST", count, REFUSED),
        ("cost of a job in a named limit", "functions.limiting:COST_MAX", count, REFUSED),
        ("`memory_limit`, at least", "functions.options:LEAST_MEMORY", size, REFUSED),
        ("schema of the arguments that a worker publishes", "functions.published:SCHEMA_MOST", size, "the form and the API check the arguments less strictly"),
    ),
    "runs": (
        ("name of a lock", "functions.running:LONGEST_LOCK_NAME", letters, REFUSED),
        ("places of a lock", "functions.running:LIMIT_MOST", count, REFUSED),
        ("name of a step, signal or sleep", "functions.steps:LONGEST_KEY", letters, REFUSED),
        ("steps, sleeps and signals of a job", "functions.steps:MOST", count, "the job fails, and says why; a line of its log warns earlier"),
        ("a durable sleep, or a wait for a signal", "functions.steps:LONGEST", days, REFUSED),
        ("a chunk of an [output stream](../howto/output-streams.md)", "functions.running:LIMITS.max_bytes", size, REFUSED),
        ("a line of a job's log", "worker.run.log_capture:LONGEST_LINE", letters, CUT),
        ("a traceback", "worker.run.telemetry:LONGEST_TRACEBACK", letters, "its beginning is left out"),
        ("the [life of a job](../howto/life-of-a-job.md) without an archive", "model.life:LIFE_LINES", lambda value: f"{value:,} lines", "the last ones are kept"),
    ),
    "flows": (
        ("jobs of a flow that is enqueued", "model.flow:JOBS_MOST", count, REFUSED),
        ("jobs that one running job adds to its flow", "store.calls.flow:ADDED_MOST", count, REFUSED),
        ("planned times of one backfill", "operations.backfill:MOST", count, REFUSED),
    ),
    "cron": (
        ("recurring jobs of a fleet", "store.calls.cron:MOST_ENTRIES", count, REFUSED),
        ("name of a recurring job", "cron.entry:NAME_MAX", letters, REFUSED),
        ("interval of `@every`", "model.cron_expression:EVERY_MOST", days, REFUSED),
        ("fires that the ledger keeps", "store.calls.cron:LEDGER_MOST", count, OLDEST),
    ),
    "queues": (
        ("lanes of a queue", "model.names:LANES_MOST", count, REFUSED),
        ("`concurrency`", "model.limits:CONCURRENCY_MAX", count, REFUSED),
        ("`burst`", "model.limits:BURST_MAX", count, REFUSED),
        ("jobs per second of a `rate`", "model.limits:FASTEST", count, REFUSED),
        ("groups of a queue with limits of their own", "store.calls.limits:MOST_GROUPS", count, REFUSED),
        ("[named limits](../howto/named-limits.md) and open breakers", "store.calls.limits:MOST_LIMITS", count, REFUSED),
    ),
    "dead": (
        ("groups of dead letters per lane", "store.calls.dead:GROUPS_MOST", count, "the one whose last letter is oldest is removed; its letters stay"),
        ("time that a group is kept after its last letter", "store.calls.dead:KEPT_MS", of_ms, "a later letter begins a new group"),
        ("rescues that are kept", "store.calls.dead:RESCUES_MOST", count, OLDEST),
        ("jobs per second of a rescue", "operations.rescues:RATE_MOST", count, REFUSED),
        ("first steps of a rescue (`canary`)", "operations.rescues:CANARY_STEPS", count, REFUSED),
    ),
    "operators": (
        ("`reason` of a pause or another action", "store.calls.control:REASON_MOST", letters, REFUSED),
        ("open jobs that a search by arguments reads", "operations.jobs.searching:READ_MOST", count, "the answer says that there are more"),
        ("steps of a time in `stats`", "operations.history:MOST", count, REFUSED),
        ("body of a request to the dashboard or its API", "web.safety.checks:BODY_MOST", size, "status 413"),
        ("ids of one request on a page", "web.pages.jobs:IDS_MOST", count, REFUSED),
        ("sessions of the dashboard", "web.safety.identity:SESSIONS_MOST", count, OLDEST),
        ("password", "web.safety.access:PASSWORD_MOST", letters, "the login is refused"),
        ("`timeout` of a channel of notifications", "notify.channel:TIMEOUT_MOST", lambda value: f"{value:,.0f} s", REFUSED),
        ("`window` of a rule of notifications", "notify.registry:WINDOW_MOST", days, REFUSED),
    ),
}  # fmt: skip
"""The rows of each table of the page."""


def value_of(place: str) -> Any:
    """The value of a constant, or of its attribute."""
    module, _, name = place.partition(":")
    found: Any = importlib.import_module(f"jobfleet.{module}")
    for part in name.split("."):
        found = getattr(found, part)
    return found


def rows(part: str) -> Iterable[tuple[str, str, str]]:
    """The cells of one table: what is bounded, its bound, and what happens beyond it."""
    for what, place, write, beyond in ROWS[part]:
        yield what, write(value_of(place)), beyond
