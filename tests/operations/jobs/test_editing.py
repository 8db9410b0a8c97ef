"""`replay` with other arguments: what changes, what stays, and what is refused."""

from __future__ import annotations

import asyncio
from datetime import UTC, datetime
from typing import Any
from unittest.mock import patch
from zoneinfo import ZoneInfo

import pytest
from redis.exceptions import ConnectionError as RedisConnectionError

from jobfleet import EncodingError, Fleet, InvalidJob, Job, JobNotFound, JobStatus
from jobfleet.codec import extensions, read_header
from jobfleet.operations.jobs.listing import Letter
from jobfleet.store.calls.inspect import letter
from tests.client.conftest import Work
from tests.client.either import Either
from tests.support.faults import Faults, FlakyLink

DEAD = "default.0.dead"
DEEP: list[Any] = []
for _ in range(40):
    DEEP = [DEEP]


def words(seen: Letter) -> list[str]:
    """A letter's history, without numbers, times and workers."""
    return [" ".join(word for word in line.split(" ") if not word[0].isdigit()) for line in seen.history]


def firsts(seen: Letter) -> list[str]:
    """The numbers of runs in a letter's history, and its other first words."""
    return [line.split(" ")[0].split("/")[0] for line in seen.history]


async def dies(client: Either, work: Work, *args: object, **options: Any) -> None:
    """A job of app.fail is enqueued and dies."""
    await client("enqueue", Job("Fail", "app.fail", args or ("no luck",), id="dead", **options))
    await work()


async def test_a_dead_job_runs_with_its_new_arguments_and_all_else_as_it_was(client: Either, work: Work) -> None:
    await dies(client, work, tags=["eu"], user="ann", unique="once", metadata={"a": 1}, correlation_id="c")
    before = await client("letter", DEAD)
    header = read_header(await envelope_of(client))

    assert await client("replay", DEAD, args=["better luck"], by="bob") is True
    waiting = await client("poll", DEAD)
    await work()

    again = await client("letter", DEAD)
    assert (waiting.status, waiting.error) == (JobStatus.QUEUED, None)
    assert (again.args, again.kwargs) == (("better luck",), {})
    assert words(again) == ["RuntimeError: no luck", "replayed bob edited args[0]", "RuntimeError: better luck"]
    assert read_header(await envelope_of(client)) == header
    assert header["unique"] == "once"
    assert again.job.enqueued_at == before.job.enqueued_at


async def envelope_of(client: Either) -> bytes:
    """The envelope of the dead letter."""
    fleet = client.fleet
    with Fleet(fleet.config.url) as looking:
        found = await asyncio.to_thread(looking.store.run, letter(looking.context.keys.lane_of(DEAD), DEAD))
    assert found is not None
    return found.envelope


async def test_what_is_not_given_stays(client: Either, work: Work) -> None:
    when, day = datetime(2026, 1, 1, tzinfo=ZoneInfo("Europe/Berlin")), {b"raw", (1, 2)}
    await client("enqueue", Job("Fail", "app.fail", (when, 7), {"day": day}, id="dead"))
    await work()

    await client("replay", DEAD, kwargs={"night": 1})
    await work()
    first = await client("letter", DEAD)
    await client("replay", DEAD, args=())
    await work()
    second = await client("letter", DEAD)

    assert (first.args, first.kwargs) == ((when, 7), {"night": 1})
    assert first.args[0].tzinfo == ZoneInfo("Europe/Berlin")
    assert (second.args, second.kwargs) == ((), {"night": 1})


async def test_the_same_arguments_are_no_edit(client: Either, work: Work) -> None:
    await dies(client, work)

    await client("replay", DEAD, args=("no luck",), kwargs={})
    await work()

    assert words(await client("letter", DEAD))[1] == "replayed -"


@pytest.mark.parametrize(
    ("wish", "place"),
    [
        ({"args": [object()]}, "args[0]"),
        ({"args": [1], "kwargs": {"df": [{"x": object()}]}}, "kwargs['df'][0]['x']"),
        ({"args": ["x" * 2_000_000]}, "args"),
        ({"kwargs": {"deep": DEEP}}, "kwargs['deep']"),
    ],
)
async def test_what_cannot_travel_is_refused_with_its_place_and_changes_nothing(
    client: Either, work: Work, wish: dict[str, Any], place: str
) -> None:
    await dies(client, work)
    before = await client("letter", DEAD)

    with pytest.raises(EncodingError) as refused:
        await client("replay", DEAD, **wish)

    assert refused.value.path.startswith(place)
    assert await client("letter", DEAD) == before


@pytest.mark.parametrize("wish", [{"args": "text"}, {"args": {"a": 1}}, {"kwargs": [1]}, {"kwargs": {1: 2}}])
async def test_what_are_no_arguments_is_refused(client: Either, work: Work, wish: dict[str, Any]) -> None:
    await dies(client, work)

    with pytest.raises(InvalidJob) as refused:
        await client("replay", DEAD, **wish)

    assert refused.value.field in wish
    assert (await client("letter", DEAD)).args == ("no luck",)


async def test_a_job_that_is_open_again_is_not_edited(client: Either, work: Work) -> None:
    await dies(client, work)

    assert await client("replay", DEAD, args=["first"]) is True
    assert await client("replay", DEAD, args=["second"]) is False
    await work()

    assert (await client("letter", DEAD)).args == ("first",)


async def test_no_letter_is_not_found(client: Either) -> None:
    with pytest.raises(JobNotFound, match="No dead letter"):
        await client("replay", DEAD, args=[])


def test_a_letter_that_died_again_meanwhile_is_read_anew(fleet: Fleet) -> None:
    fleet.enqueue(Job("Fail", "app.fail", ("no luck",), {}, id="dead"))
    fleet.run_worker(burst=True)
    run_many, rivals = fleet.store.run_many, iter([True])

    def overtaken(calls: Any) -> list[Any]:
        """Somebody else edits the letter, and it dies again, between the look and the replay."""
        if calls[0].script.name == "replay" and next(rivals, False):
            with Fleet(fleet.config.url, registry=fleet.context.registry) as rival:
                rival.replay(DEAD, kwargs={"message": "bad"}, args=[])
                rival.run_worker(burst=True)
        return run_many(calls)

    with patch.object(fleet.store, "run_many", overtaken):
        assert fleet.replay(DEAD, args=["mine"]) is True
    fleet.run_worker(burst=True)

    seen = fleet.letter(DEAD)
    assert (seen.args, seen.kwargs) == (("mine",), {"message": "bad"})
    assert firsts(seen) == ["1", "replayed", "2", "replayed", "3"]


def test_a_job_that_dies_between_the_look_and_the_replay_is_edited_all_the_same(fleet: Fleet) -> None:
    fleet.enqueue(Job("Fail", "app.fail", ("no luck",), id="dead"))
    run_many, rivals = fleet.store.run_many, iter([True])

    def overtaken(calls: Any) -> list[Any]:
        if calls[0].script.name == "replay" and next(rivals, False):
            fleet.run_worker(burst=True)
        return run_many(calls)

    with patch.object(fleet.store, "run_many", overtaken):
        assert fleet.replay(DEAD, args=["mine"]) is True
    fleet.run_worker(burst=True)

    assert fleet.letter(DEAD).args == ("mine",)


def test_a_lost_reply_makes_no_second_run(fleet: Fleet) -> None:
    fleet.enqueue(Job("Fail", "app.fail", ("no luck",), id="dead"))
    fleet.run_worker(burst=True)
    with pytest.raises(JobNotFound):
        fleet.replay("default.0.other")  # so that the server knows the script, and runs it at the first call
    faults, run_many = Faults(share=1.0, most=1), fleet.store.run_many

    def losing(calls: Any) -> list[Any]:
        link = fleet.store.link
        with patch.object(fleet.store, "link", FlakyLink(link, faults) if calls[0].script.name == "replay" else link):
            return run_many(calls)

    with patch.object(fleet.store, "run_many", losing):
        assert fleet.replay(DEAD, args=["mine"]) is True  # it was done, the reply was lost, and is given again
    fleet.run_worker(burst=True)

    assert faults.lost == 1
    assert words(fleet.letter(DEAD)) == ["RuntimeError: no luck", "replayed - edited args[0]", "RuntimeError: mine"]


@pytest.mark.parametrize("wanted", ["mine", "no luck"], ids=["with others", "with its own"])
def test_a_lost_reply_makes_no_second_run_of_a_job_that_has_died_again_either(fleet: Fleet, wanted: str) -> None:
    fleet.enqueue(Job("Fail", "app.fail", ("no luck",), id="dead"))
    fleet.run_worker(burst=True)
    link, rivals = fleet.store.link, iter([True])

    class Losing(FlakyLink):
        """Loses the reply of the replay that is done, and does not ask again before the job has died."""

        def exchange(self, commands: Any) -> list[Any]:
            replies = link.exchange(commands)
            if any(isinstance(reply, list) and reply[0] == b"replayed" for reply in replies) and next(rivals, False):
                with Fleet(fleet.config.url, registry=fleet.context.registry) as worker:
                    worker.run_worker(burst=True)
                return [RedisConnectionError("Connection closed by server.")]
            return replies

    with patch.object(fleet.store, "link", Losing(link, Faults(share=0.0))):
        assert fleet.replay(DEAD, args=[wanted]) is True  # as the first time, though it has died again by now

    assert next(rivals, False) is False
    assert firsts(fleet.letter(DEAD)) == ["1", "replayed", "2"]
    assert fleet.letter(DEAD).args == (wanted,)


def test_a_time_in_a_zone_that_is_not_known_here_is_not_written_anew(fleet: Fleet) -> None:
    when = datetime(2026, 1, 1, tzinfo=ZoneInfo("Europe/Berlin"))
    fleet.enqueue(Job("Fail", "app.fail", (1,), {"slots": [{when}]}, id="dead"))
    fleet.run_worker(burst=True)

    with patch.object(extensions, "_zone", lambda _: None):
        seen = fleet.letter(DEAD)
        with pytest.raises(EncodingError, match=r"Europe/Berlin.* give both, or install tzdata"):
            fleet.replay(DEAD, args=["mine"])
        assert fleet.replay(DEAD, args=["mine"], kwargs={"at": datetime(2026, 1, 1, tzinfo=UTC)}) is True

    assert seen.unknown_zones == ("Europe/Berlin",)


def test_an_edit_of_a_call_that_cannot_be_read_needs_all_of_it(fleet: Fleet) -> None:
    fleet.enqueue(Job("Fail", "app.fail", ("no luck" * 1000,), id="dead"))
    fleet.run_worker(burst=True)

    with Fleet(fleet.config.url, registry=fleet.context.registry, max_payload=1024) as strict:
        with pytest.raises(EncodingError, match="envelope body"):
            strict.replay(DEAD, args=[])
        assert strict.replay(DEAD, args=[], kwargs={}) is True

    assert fleet.poll(DEAD).status is JobStatus.QUEUED
