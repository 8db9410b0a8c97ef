"""`dead` and `replay_many` with filters: what matches comes once, newest first, by a bounded number of calls."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from typing import Any
from unittest.mock import patch

import pytest

from jobfleet import ConfigError, Fleet, InvalidJob, Job
from jobfleet.operations.dead_letters import ROUNDS
from tests.client.either import Either
from tests.operations.dead.conftest import Bury
from tests.support.each import each


def mails(names: Sequence[str], **options: Any) -> list[Job]:
    return [Job("Sum", "app.add", (1, 2), queue="mail", id=name, **options) for name in names]


async def pages(client: Either, limit: int, **filters: Any) -> list[str]:
    """The ids on all pages."""
    found: list[str] = []
    cursor = ""
    for _ in range(200):
        page = await client("dead", limit=limit, cursor=cursor, **filters)
        assert len(page) <= limit
        found += [row.id for row in page]
        cursor = page.cursor
        if not cursor:
            return found
    raise AssertionError("pages never end")


@pytest.mark.parametrize("is_filed", [False, True])
@pytest.mark.parametrize("limit", [1, 7, 100])
async def test_the_letters_of_all_lanes_come_once_and_newest_first(
    client: Either, wide: Fleet, bury: Bury, limit: int, is_filed: bool
) -> None:
    ids = bury(mails([f"n{n}" for n in range(23)]))
    bury([Job("Fail", "app.fail", ("x",), id="other")])
    if is_filed:
        await Either(wide)("dead_groups")

    whole = await client("dead", "mail", limit=1000)
    assert sorted(row.id for row in whole) == sorted(ids)
    assert [row.completed_at for row in whole] == sorted((row.completed_at for row in whole), reverse=True)
    assert await pages(client, limit, queue="mail") == [row.id for row in whole]
    assert await pages(client, limit, function="app.add") == [row.id for row in whole]


@pytest.mark.parametrize("is_filed", [False, True])
async def test_each_filter_selects(client: Either, wide: Fleet, bury: Bury, is_filed: bool) -> None:
    plain = bury(mails("ab"), error="row 7 is bad")
    mine = bury(mails("cd", tags=["eu", "vip"], user="ann"), error="row 8 is bad")
    other = bury([Job("Fail", "app.fail", ("x",), id="e", tags=["eu"])])
    group = next(row.fingerprint for row in await Either(wide)("dead_groups") if row.count == 4)
    if not is_filed:
        fresh = bury(mails("f", tags=["eu"], user="ann"), error="row 9 is bad")
        mine = [*mine, *fresh]

    for filters, expected in (
        ({"tag": "eu"}, {*mine, *other}),
        ({"user": "ann"}, {*mine}),
        ({"function": "app.fail"}, {*other}),
        ({"fingerprint": group}, {*plain, *mine}),
        ({"tag": "eu", "function": "app.add"}, {*mine}),
        ({"tag": "none"}, set()),
    ):
        assert set(await pages(client, 2, **filters)) == expected, filters
        assert await client("count_dead", **filters) == len(expected)


async def test_times_bound_the_letters(client: Either, bury: Bury) -> None:
    first = bury(mails("a"))
    middle = datetime.now(UTC) + timedelta(milliseconds=2)
    while datetime.now(UTC) < middle + timedelta(milliseconds=2):
        pass
    second = bury(mails("b"))

    assert await pages(client, 5, since=middle) == second
    assert await pages(client, 5, until=middle) == first
    assert await pages(client, 5, until=middle.replace(tzinfo=None) + datetime.now().astimezone().utcoffset()) == first  # type: ignore[operator]


async def test_a_page_costs_few_calls_however_rare_the_letters_are(wide: Fleet, bury: Bury) -> None:
    rare = bury(mails(["rare"], user="ann"))
    bury(mails([f"n{n}" for n in range(300)]))
    client = Either(wide)

    async def calls_of(method: str = "dead", **given: Any) -> Counter[str]:
        names: Counter[str] = Counter()
        run_many = wide.store.run_many

        def heard(calls: Any) -> list[Any]:
            made = list(calls)
            names.update(call.script.name for call in made)
            return run_many(made)

        with patch.object(wide.store, "run_many", heard):
            await client(method, **given)
        return names

    unfiled = await calls_of(limit=1, user="ann")
    await client("dead_groups")
    filed = await calls_of(limit=1, user="ann")

    assert unfiled["find_letters"] <= ROUNDS * 4
    assert filed["find_letters"] == 4
    assert await calls_of("count_dead", queue="mail") == {"fleet": 1, "counts": 4}
    assert await client("count_dead", "mail") == await client("count_dead") == 301
    assert await pages(client, 1, user="ann") == rare


async def test_what_matches_is_replayed_once(client: Either, bury: Bury) -> None:
    ids = bury(mails([f"n{n}" for n in range(60)], tags=["eu"]))
    left = bury(mails(["other"]))

    assert await client("replay_many", by="ann", tag="eu") == 60

    assert [row.id for row in await client("dead")] == left
    assert {job.id for job in await client("pending", "mail")} == set(ids)
    assert await client("replay_many", tag="eu") == 0
    assert sorted(group.count for group in await client("dead_groups")) == [1]


async def test_a_letter_whose_key_another_job_holds_stays(client: Either, bury: Bury) -> None:
    (job_id,) = bury([Job("Sum", "app.add", (1, 2), id="a", unique="k")])
    await client("enqueue", Job("Sum", "app.add", (1, 2), id="b", unique="k"))

    assert await client("replay_many") == 0
    assert [row.id for row in await client("dead")] == [job_id]


@each("filters, kind, text", [
        ({"function": ""}, InvalidJob, "function is ''; give a text that is not empty."),
        ({"tag": 7}, InvalidJob, "tag is 7; give a text that is not empty."),
        ({"fingerprint": "x"}, InvalidJob, "fingerprint is 'x'; give the 16 digits that 'jobfleet dead groups' shows."),
        ({"since": "now"}, InvalidJob, "since is 'now'; give a datetime."),
        (
            {"since": datetime(2026, 1, 2, tzinfo=UTC), "until": datetime(2026, 1, 1, tzinfo=UTC)}, InvalidJob,
            "until is not later than since; no letter matches.",
        ),
        ({"cursor": "x"}, ConfigError, "cursor is 'x'; give the cursor of the previous page."),
    ])  # fmt: skip
async def test_wrong_filters_are_named(client: Either, filters: Any, kind: type[Exception], text: str) -> None:
    with pytest.raises(kind) as refused:
        await client("dead", **filters)

    assert str(refused.value) == text
