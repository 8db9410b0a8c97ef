"""Recurring jobs, as producers ask for them."""

from __future__ import annotations

import pytest
import redis

from jobfleet import AsyncFleet, Cron, Fleet, InvalidJob, Job, JobNotFound, JobStatus
from jobfleet.codec import encode
from jobfleet.functions.registry import Registry
from jobfleet.operations.cron import Decorated, decorated
from jobfleet.store.calls import cron as calls
from jobfleet.store.calls.presence import beat
from tests.cli.hand import Hand

pytestmark = pytest.mark.filterwarnings("ignore:No worker has published:UserWarning")


def cleanup(**options: object) -> Job:
    return Job("Cleanup", "app.cleanup", cron_expression="0 2 * * *", **options)  # type: ignore[arg-type]


def test_enqueueing_a_job_with_an_expression_keeps_it(fleet: Fleet) -> None:
    receipt = fleet.submit(Job("cleanup", "app.cleanup", cron_expression="0 2 * * *", tz="Europe/Berlin", user="ann"))

    (info,) = fleet.cron()
    assert (receipt.created, receipt.status) == (True, JobStatus.SCHEDULED)
    assert receipt.id.startswith("default.0.cron:cleanup:")
    assert (info.name, info.cron, info.function, info.origin) == (
        "cleanup", Cron("0 2 * * *", "Europe/Berlin"), "app.cleanup", "ann",
    )  # fmt: skip
    assert fleet.submit(Job("cleanup", "app.cleanup", cron_expression="0 3 * * *")).created is False
    assert fleet.cron()[0].cron.expression == "0 3 * * *"


async def test_an_async_fleet_does_likewise(redis_url: str) -> None:
    async with AsyncFleet(redis_url) as fleet:
        job_id = await fleet.enqueue(Job("cleanup", "app.cleanup", cron_expression="0 2 * * *"))

        assert job_id.startswith("default.0.cron:cleanup:")
        assert [info.name for info in await fleet.cron()] == ["cleanup"]
        assert await fleet.cron.pause("cleanup", by="ann") is True
        assert await fleet.cron.resume("cleanup") is True
        assert (await fleet.cron.run("cleanup")).startswith("default.0.")
        assert await fleet.cron.history("cleanup") == []
        await fleet.cron.remove("cleanup")
        assert await fleet.cron() == []


def test_a_name_that_cannot_be_an_entry_s_is_refused(fleet: Fleet) -> None:
    with pytest.raises(InvalidJob, match="without spaces"):
        fleet.cron.add("clean up", "0 2 * * *", cleanup())
    with pytest.raises(InvalidJob, match="1 to 100 printable"):
        fleet.enqueue(Job("x" * 101, "app.cleanup", cron_expression="0 2 * * *"))
    assert fleet.cron() == []


def test_a_label_with_spaces_names_its_entry_with_hyphens(fleet: Fleet) -> None:
    fleet.enqueue(Job("Clean up  at night", "app.cleanup", cron_expression="0 2 * * *"))

    assert [entry.name for entry in fleet.cron()] == ["Clean-up-at-night"]


def test_recurring_jobs_are_not_for_batches(fleet: Fleet) -> None:
    (receipt,) = fleet.enqueue_many([cleanup()])

    assert str(receipt.error) == "cron_expression makes a recurring job: enqueue it by itself."


@pytest.mark.parametrize("option", [{"delay": 5}, {"id": "mine"}])
def test_a_recurring_job_has_no_time_or_id_of_its_own(fleet: Fleet, option: dict[str, object]) -> None:
    with pytest.raises(InvalidJob, match=f"{next(iter(option))} is not for recurring jobs"):
        fleet.enqueue(Job("cleanup", "app.cleanup", cron_expression="0 2 * * *", **option))  # type: ignore[arg-type]


def test_a_time_zone_alone_says_nothing(fleet: Fleet) -> None:
    with pytest.raises(InvalidJob, match="tz is the time zone of cron_expression, which is not given"):
        fleet.enqueue(Job("cleanup", "app.cleanup", tz="UTC"))


def test_a_decorator_keeps_its_times_apart_from_the_options_of_its_jobs() -> None:
    made = Registry().register(len, name="test.length", cron="0 2 * * *", tz="Europe/Berlin", queue="night")

    assert made.cron == Cron("0 2 * * *", "Europe/Berlin")
    assert made.given == {"queue": "night"}


@pytest.mark.parametrize(
    ("options", "field"),
    [({"cron": "x"}, "cron_expression"), ({"tz": "UTC"}, "tz"), ({"cron": Cron("@daily"), "tz": "UTC"}, "tz")],
)
def test_a_decorator_is_refused_when_its_times_are_wrong(options: dict[str, object], field: str) -> None:
    with pytest.raises(InvalidJob) as refused:
        Registry().register(len, name="test.length", **options)  # type: ignore[arg-type]

    assert refused.value.field == field


@pytest.mark.parametrize("options", [{"cron": "@daily", "cron_expression": "@hourly"}, {"cron": ""}])
def test_a_decorator_is_refused_when_it_has_two_schedules_or_an_empty_one(options: dict[str, object]) -> None:
    with pytest.raises(InvalidJob) as refused:
        Registry().register(len, name="test.length", **options)  # type: ignore[arg-type]

    assert refused.value.field == "cron_expression"


def test_an_entry_gets_another_schedule_and_keeps_its_job(fleet: Fleet, raw: redis.Redis) -> None:
    fleet.cron.add("nightly", "0 2 * * *", Job("cleanup", "app.cleanup", (7,), queue="night"), by="ann")

    assert fleet.cron.edit("nightly", "0 3 * * *", tz="Europe/Berlin", by="bob") == "changed"
    assert fleet.cron.edit("nightly", "0 3 * * *", tz="Europe/Berlin") == "unchanged"

    info = fleet.cron.get("nightly")
    assert (info.cron, info.queue, info.origin) == (Cron("0 3 * * *", "Europe/Berlin"), "night", "ann")
    assert fleet.details(fleet.cron.run("nightly")).args == (7,)
    (_, entry, *_) = reversed(fleet.audit().entries)
    assert (entry.action, entry.target, entry.by) == ("cron.edit", "nightly", "bob")
    assert entry.before["schedule"] == "0 2 * * *"
    assert entry.after == {"schedule": "0 3 * * *", "tz": "Europe/Berlin"}


def test_only_an_entry_that_exists_is_edited(fleet: Fleet) -> None:
    for work in (lambda: fleet.cron.edit("none", "@daily"), lambda: fleet.cron.get("none")):
        with pytest.raises(JobNotFound, match="No cron entry 'none'; there are: none yet"):
            work()
    assert fleet.cron() == []


def test_the_schedule_of_a_decorator_is_not_edited(fleet: Fleet) -> None:
    hand = Hand(fleet)
    hand.run(beat(fleet.context.keys, "w1", account=encode({"queues": ["default"]}), gone_us=10**8,
                  functions={"app.tick": encode({"cron": Cron("@daily").dump()})}))  # fmt: skip
    entry = next(one.entry for one in decorated(fleet.context, hand.run(fleet.context.fleet_call()))
                 if isinstance(one, Decorated))  # fmt: skip
    hand.run(calls.add(fleet.context.keys, "app.tick", entry.fingerprint, encode(entry.dump())))

    with pytest.raises(InvalidJob, match="comes from the decorator of its function"):
        fleet.cron.edit("app.tick", "@hourly")
    assert fleet.cron.get("app.tick").cron.expression == "@daily"


def test_entries_are_listed_in_parts(fleet: Fleet) -> None:
    for name in "bca":
        fleet.cron.add(name, "@daily", Job("cleanup", "app.cleanup"))

    assert [one.name for one in fleet.cron(limit=2)] == ["a", "b"]
    assert [one.name for one in fleet.cron(limit=2, after="b")] == ["c"]
    with pytest.raises(InvalidJob, match="limit"):
        fleet.cron(limit=0)


@pytest.mark.parametrize("note", ["5 rubbish", "5 fired - x", "5 fired - 99999999999999999999"])
def test_an_unreadable_note_of_a_fire_is_left_out(fleet: Fleet, raw: redis.Redis, note: str) -> None:
    fleet.cron.add("nightly", "0 2 * * *", Job("cleanup", "app.cleanup"))
    raw.zadd("{jobfleet}:cron-ledger:nightly", {note: 5, "4000000 fired - 4000000": 4})

    assert [fire.outcome for fire in fleet.cron.history("nightly")] == ["fired"]
    assert [entry.name for entry in fleet.cron()] == ["nightly"]


def test_an_unreadable_entry_can_be_removed(fleet: Fleet, raw: redis.Redis) -> None:
    raw.hset("{jobfleet}:cron", "nightly", "5 x\nrubbish")

    fleet.cron.remove("nightly")

    assert raw.hlen("{jobfleet}:cron") == 0
