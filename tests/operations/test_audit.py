"""The audit: every action of an operator, with its values before and after, and how it ended."""

from __future__ import annotations

import logging
import math
from collections.abc import Callable, Sequence
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
import redis

from jobfleet import DuplicateJob, Fleet, InvalidJob, Job, JobNotFound, Priority, StoreUnavailable
from jobfleet.client._sync.audit import audited
from jobfleet.errors import ConfigError
from jobfleet.model.audit import AuditEntry
from jobfleet.operations.audit import Action, whoami
from tests.client.either import Either, finished
from tests.support.server import RedisServer
from tests.support.users import create, url_as

Steps = Callable[["Hands"], Any]
pytestmark = pytest.mark.filterwarnings("ignore:No worker has published:UserWarning")
SOON = datetime(2090, 1, 2, 3, 4, tzinfo=UTC)
STARTS = {"schedule": "0 2 * * *", "tz": "UTC", "function": "app.add"}
LATER = {"schedule": "0 3 * * *", "tz": "Europe/Berlin", "function": "app.add"}
WAITS = {"status": "scheduled", "priority": "normal", "due": SOON.isoformat()}


class Hands:
    """Acts with either client, and keeps what the audit is to have."""

    def __init__(self, client: Either) -> None:
        self._client = client
        self.wanted: list[tuple[Any, ...]] = []

    async def __call__(
        self,
        verb: str,
        *args: Any,
        has: Sequence[Any],
        by: str | None = "ann",
        raises: type[Exception] | None = None,
        **options: Any,
    ) -> Any:
        """Act; `has` are the action, target, values before and after, outcome, and maybe the count."""
        method: Any = self._client.fleet
        for name in verb.split("."):
            method = getattr(method, name)
        error = None
        result = None
        if raises is None:
            result = await finished(method, *args, **options, by=by)
        else:
            with pytest.raises(raises) as raised:
                await finished(method, *args, **options, by=by)
            error = type(raised.value).__name__
        action, target, before, after, outcome, *count = has
        if callable(after):
            after = after(result)
        self.wanted.insert(0, (by or whoami(), action, target, before, after, outcome, *(count or [None]), error))
        return result

    async def enqueue(self, **options: Any) -> str:
        """Enqueue a job that is due at `SOON`."""
        return str(await self._client("enqueue", Job("Sum", "app.add", (1, 2), scheduled_at=SOON, **options)))


def facts(entry: AuditEntry) -> tuple[Any, ...]:
    assert entry.ended_at is not None
    assert timedelta() <= entry.ended_at - entry.at < timedelta(minutes=1)
    assert (entry.source, entry.unread) == ("python", "")
    return (
        entry.by, entry.action, entry.target, entry.before, entry.after, entry.outcome, entry.count, entry.error
    )  # fmt: skip


async def queues(act: Hands) -> None:
    await act.enqueue(id="a")
    paused = {"paused": True, "paused_by": "ann", "reason": "a repair"}
    free, held = {"paused": False}, {"paused": True}
    reason = {"paused": True, "reason": "a repair"}
    await act("pause", "mail", reason="a repair", has=("queue.pause", "mail", free, reason, "done"))
    await act("pause", "mail", by="bob", has=("queue.pause", "mail", paused, held, "unchanged"))
    await act("resume", "mail", by=None, has=("queue.resume", "mail", paused, free, "done"))
    await act("pause", "mail", group="acme", has=("group.pause", "mail:acme", free, held, "done"))
    held_by = {"paused": True, "paused_by": "ann"}
    await act("resume", "mail", group="acme", has=("group.resume", "mail:acme", held_by, free, "done"))
    await act("pause", function="app.f", has=("function.pause", "app.f", free, held, "done"))
    await act("resume", function="app.f", has=("function.resume", "app.f", held_by, free, "done"))
    await act("pause", "mail", function="app.f", has=("function.pause", "app.f in mail", free, held, "done"))
    await act("resume", "none", raises=ConfigError, has=("queue.resume", "none", free, free, "error"))
    level = {"durability": "fsync"}
    none = {"durability": None}
    await act("set_durability", "mail", "fsync", has=("queue.durability", "mail", none, level, "done"))
    await act("set_durability", "mail", None, has=("queue.durability", "mail", level, none, "done"))
    await act("purge_queue", "default", has=("queue.purge", "default", {}, {}, "done", 1))
    await act("remove_queue", "mail", has=("queue.remove", "mail", {}, {"purge": False}, "done", 0))


async def limits(act: Hands) -> None:
    await act("limits.set", "mail", concurrency=5, has=("limit.set", "mail", {}, {"concurrency": 5}, "done"))
    five = {"concurrency": 5}
    await act("limits.set", "mail", concurrency=5, has=("limit.set", "mail", five, five, "unchanged"))
    both = {"concurrency": 5, "rate": "10/s"}
    await act("limits.set", "mail", rate="10/s", has=("limit.set", "mail", five, both, "done"))
    none = {"concurrency": None, "rate": "none", "burst": None}
    shown = {"concurrency": 5, "rate": "10/s", "burst": 10}
    await act("limits.set", "mail", rate=math.inf, replace=True, has=("limit.set", "mail", shown, none, "done"))
    await act("limits.clear", "mail", has=("limit.clear", "mail", {"rate": "none"}, {"rate": None}, "done"))
    await act("limits.set", "mail", group="acme", weight=2,
              has=("limit.set", "mail:acme", {}, {"weight": 2}, "done"))  # fmt: skip


async def single_jobs(act: Hands) -> None:
    job_id = await act.enqueue(id="a")
    high = {"due": SOON.isoformat(), "priority": "high"}
    await act(
        "reschedule", job_id, at=SOON, priority=Priority.HIGH, has=("job.reschedule", job_id, WAITS, high, "done")
    )
    before = {**WAITS, "priority": "high"}
    names = {"positional": 0, "named": ["x", "y"]}
    await act("edit", job_id, args=(), kwargs={"x": 5, "y": 6}, has=("job.edit", job_id, before, names, "done"))
    new = await act("move", job_id, "bulk",
                    has=("job.move", job_id, before, lambda new: {"queue": "bulk", "id": new}, "done"))  # fmt: skip
    await act("cancel", new, has=("job.cancel", new, before, {}, "done"))
    ended = {"status": "cancelled"}
    await act("cancel", new, has=("job.cancel", new, ended, {}, "unchanged"))
    await act("cancel", "default.0.no", raises=JobNotFound, has=("job.cancel", "default.0.no", {}, {}, "error"))
    await act("replay", new, fresh=True, has=("job.replay", new, ended, {"fresh": True}, "unchanged"))
    await act("purge", new, has=("job.purge", new, ended, {}, "unchanged"))
    await act("forget", new, has=("job.forget", new, {}, {}, "done"))


async def many_jobs(act: Hands) -> None:
    for number in range(3):
        await act.enqueue(tags=["eu"], user=f"u{number}")
    low = {"delay": 60.0, "priority": "low"}
    await act("reschedule_many", user="u0", delay=60, priority=Priority.LOW,
              has=("jobs.reschedule", "user=u0", {}, low, "done", 1))  # fmt: skip
    await act("move_many", "bulk", queue="default", tags="eu",
              has=("jobs.move", "queue=default tags=eu", {}, {"queue": "bulk"}, "done", 3))  # fmt: skip
    await act("cancel_many", queue="bulk", status="scheduled",
              has=("jobs.cancel", "queue=bulk status=scheduled", {}, {}, "done", 3))  # fmt: skip
    await act("clean", timedelta(days=1), has=("jobs.clean", "all queues", {}, {"older_than": 86400}, "unchanged", 0))


async def recurring(act: Hands) -> None:
    job = Job("Sum", "app.add", (1, 2))
    await act("cron.add", "n", "0 2 * * *", job, has=("cron.add", "n", {}, STARTS, "done"))
    first, second = {**STARTS, "queue": "default"}, {**LATER, "queue": "default"}
    changed = ("cron.add", "n", first, LATER, "done")
    await act("cron.add", "n", "0 3 * * *", job, tz="Europe/Berlin", replace=True, has=changed)
    same = ("cron.add", "n", second, LATER, "unchanged")
    await act("cron.add", "n", "0 3 * * *", job, tz="Europe/Berlin", replace=True, has=same)
    await act("cron.add", "n", "0 4 * * *", job, raises=InvalidJob,
              has=("cron.add", "n", second, {**STARTS, "schedule": "0 4 * * *"}, "error"))  # fmt: skip
    free, held = {"paused": False}, {"paused": True}
    await act("cron.pause", "n", has=("cron.pause", "n", free, held, "done"))
    await act("cron.resume", "n", has=("cron.resume", "n", {**held, "paused_by": "ann"}, free, "done"))
    await act("cron.pause", "n", reason="full", has=("cron.pause", "n", free, {**held, "reason": "full"}, "done"))
    before = {**held, "paused_by": "ann", "reason": "full"}
    await act("cron.resume", "n", has=("cron.resume", "n", before, free, "done"))
    await act("cron.run", "n", by=None, has=("cron.run", "n", {}, lambda new: {"id": new}, "done"))
    await act("cron.remove", "n", has=("cron.remove", "n", second, {}, "done"))
    await act("cron.remove", "n", raises=JobNotFound, has=("cron.remove", "n", {}, {}, "error"))


async def the_rest(act: Hands) -> None:
    await act("command_workers", ["w"], "scale", processes=3, timeout=0.1,
              has=("worker.scale", "w", {}, {"processes": 3, "w": "unknown"}, "unknown", 0))  # fmt: skip
    await act("repair", has=("fleet.repair", "all queues", {}, {}, "unchanged", 0))
    await act("flows.cancel", "f", raises=JobNotFound, has=("flow.cancel", "f", {}, {}, "error"))
    await act("flows.retry", "f", raises=JobNotFound, has=("flow.retry", "f", {}, {}, "error"))


@pytest.mark.parametrize("steps", [queues, limits, single_jobs, many_jobs, recurring, the_rest])
async def test_each_action_is_recorded_with_its_values_and_how_it_ended(steps: Steps, client: Either) -> None:
    act = Hands(client)

    await steps(act)

    page = await client("audit", limit=100)
    assert page.cursor == ""
    assert [facts(entry) for entry in page.entries] == act.wanted


async def test_what_a_program_does_with_single_jobs_is_recorded_only_if_it_says_who(client: Either) -> None:
    job_id = await client("enqueue", Job("Sum", "app.add", (1, 2), delay=60))

    await client("reschedule", job_id, priority=Priority.HIGH)
    await client("edit", job_id, args=(3, 4))
    await client("cancel", job_id)
    await client("forget", job_id)

    assert (await client("audit")).entries == []


async def test_arguments_that_are_refused_at_once_are_not_recorded(client: Either) -> None:
    with pytest.raises(InvalidJob):
        await client("pause", "mail", by="ann", reason="two\nlines")
    with pytest.raises(InvalidJob):
        await finished(client.fleet.limits.set, "mail", weight=2, by="ann")
    for verb in ("resume", "purge_queue"):
        with pytest.raises(InvalidJob, match="by is 5"):
            await client(verb, "mail", by=5)

    assert (await client("audit")).entries == []


async def test_questions_are_not_recorded(client: Either) -> None:
    await client("enqueue", Job("Sum", "app.add", (1, 2), delay=60))

    await client("reschedule_many", delay=1, queue="default", dry_run=True)
    await client("move_many", "bulk", queue="default", dry_run=True)
    await client("repair", dry_run=True)
    await client("remove_queue", "default", purge=True, dry_run=True)
    await client("count_open", queue="default")

    assert (await client("audit")).entries == []


async def test_a_page_continues_where_the_one_before_ended(fleet: Fleet) -> None:
    for number in range(7):
        fleet.pause(f"q{number}", by="ann" if number % 2 else "bob")
    whole = fleet.audit().entries

    found: list[AuditEntry] = []
    cursor, sizes = "", []
    while True:
        page = fleet.audit(limit=2, cursor=cursor)
        found += page.entries
        sizes.append(len(page.entries))
        cursor = page.cursor
        if not cursor:
            break

    assert (found, sizes) == (whole, [2, 2, 2, 1])
    assert [entry.target for entry in whole] == [f"q{number}" for number in reversed(range(7))]
    first = fleet.audit(by="ann", limit=2)
    assert [one.target for one in first.entries] == ["q5", "q3"]
    assert [one.target for one in fleet.audit(by="ann", cursor=first.cursor).entries] == ["q1"]


def test_filters(fleet: Fleet) -> None:
    fleet.pause("mail", by="ann")
    fleet.pause("mail", group="acme", by="bob")
    fleet.limits.set("mail", concurrency=1, by="ann")

    def targets(**chosen: Any) -> list[str]:
        return [entry.action for entry in fleet.audit(**chosen).entries]

    assert targets(by="ann") == ["limit.set", "queue.pause"]
    assert targets(action="queue") == targets(action="queue.pause") == ["queue.pause"]
    assert targets(action="queue.resume") == []
    assert targets(target="mail:") == ["group.pause"]
    newest, middle, oldest = (entry.ended_at for entry in fleet.audit().entries)
    assert (newest, middle, oldest) == (newest or SOON, middle or SOON, oldest or SOON)
    assert targets(until=oldest) == []
    assert len(targets(since=oldest)) == 3
    assert targets(since=SOON) == []
    for wrong in ({"since": 5}, {"by": ""}, {"limit": 0}, {"cursor": "here"}, {"action": 7}):
        with pytest.raises(InvalidJob):
            targets(**wrong)


def test_the_number_of_records_is_limited(redis_url: str) -> None:
    with Fleet(redis_url, audit_max=3) as fleet:
        for number in range(5):
            fleet.pause(f"q{number}")

        assert [entry.target for entry in fleet.audit().entries] == ["q4", "q3", "q2"]


def test_it_can_be_turned_off(redis_url: str) -> None:
    with Fleet(redis_url, audit_max=0) as fleet:
        fleet.pause("mail", by="ann")

        assert fleet.audit().entries == []


def test_long_values_are_cut(fleet: Fleet) -> None:
    fleet.cancel_many(user="u" * 3000, by="w" * 3000)

    (entry,) = fleet.audit().entries
    assert (len(entry.target), len(entry.by), entry.target[-1]) == (500, 500, "…")


def test_a_name_that_is_no_unicode_is_recorded(fleet: Fleet) -> None:
    fleet.limits.set("mail", concurrency=1, by="a\ud800b\n\x1b[31m")

    assert [entry.by for entry in fleet.audit().entries] == ["a?b\n\x1b[31m"]


# ------------------------------------------------------------------------------------ when it fails


def test_an_action_whose_record_is_refused_is_done_and_reported_once(caplog: pytest.LogCaptureFixture) -> None:
    with RedisServer() as server:
        with server.client() as raw:
            create(raw)
        with Fleet(url_as(server.url, "canceller")) as fleet:
            job_id = fleet.enqueue(Job("Sum", "app.add", (1, 2), delay=60))
            with caplog.at_level(logging.WARNING, "jobfleet.audit"):
                assert fleet.cancel(job_id, by="ann") is True
                assert fleet.cancel(job_id, by="ann") is False
        with Fleet(server.url) as fleet:
            assert fleet.audit().entries == []
    (record,) = caplog.records
    assert record.getMessage().startswith(f"audit.refused job.cancel {job_id} is not in the audit, nor is what follows")


def test_an_action_whose_end_cannot_be_recorded_is_done(caplog: pytest.LogCaptureFixture) -> None:
    with RedisServer() as server, Fleet(server.url, patience=0.1) as fleet:

        def act() -> str:
            assert [entry.outcome for entry in fleet.audit().entries] == ["unknown"]
            server.stop()
            return "done"

        with caplog.at_level(logging.WARNING, "jobfleet.audit"):
            assert audited(fleet.context, fleet._do, Action("queue.pause", "mail"), act) == "done"
        assert "audit.unended queue.pause mail has ended, but not in the audit" in caplog.text
        with pytest.raises(StoreUnavailable):
            fleet.pause("mail")


def test_while_an_action_goes_on_its_outcome_is_unknown(fleet: Fleet) -> None:
    seen: list[AuditEntry] = []

    def act() -> bool:
        seen.extend(fleet.audit().entries)
        return True

    audited(fleet.context, fleet._do, Action("queue.pause", "mail", {"paused": True}), act, by="ann")

    (during,), (after,) = seen, fleet.audit().entries
    assert (during.outcome, during.ended_at, during.after) == ("unknown", None, {"paused": True})
    assert (after.id, after.at, after.outcome) == (during.id, during.at, "done")


def test_a_record_that_is_not_from_jobfleet_is_left_out(fleet: Fleet, raw: redis.Redis) -> None:
    fleet.pause("mail", by="ann")
    key = fleet.context.keys.audit
    for head, body in ((b"{", b""), (b"[]", b""), (b'{"by":"x"}', b"")):
        raw.xadd(key, {"id": "x", "head": head, "body": body})
    raw.xadd(key, {"id": "y", "head": b'{"by":"x","source":"cli","action":"a.b","target":"t"}', "body": b"\xc1"})

    strange, mine = fleet.audit().entries

    assert (strange.by, strange.outcome, strange.before) == ("x", "unknown", {})
    assert strange.unread
    assert mine.by == "ann"


def test_who_replays_a_job_that_holds_a_key_is_told_why(fleet: Fleet) -> None:
    fleet.cron.add("n", "0 2 * * *", Job("Sum", "app.add", (1, 2), unique="k"), by="ann")
    fleet.cron.run("n")

    with pytest.raises(DuplicateJob):
        fleet.cron.run("n", by="bob")

    assert [(one.by, one.error) for one in fleet.audit(action="cron.run").entries] == [
        ("bob", "DuplicateJob"), (whoami(), None),
    ]  # fmt: skip
