"""Groups of dead letters: what is recorded, and what people decide."""

from __future__ import annotations

import pytest
import redis

from jobfleet import Fleet, Job, UnknownGroup
from jobfleet.operations.dead_groups import GroupState
from tests.client.either import Either
from tests.operations.dead.conftest import Bury
from tests.operations.dead.test_filters import mails
from tests.support.each import each


async def test_a_group_has_its_letters_of_all_queues(client: Either, bury: Bury) -> None:
    (first,) = bury(mails(["a"]), error="row 7 of ann@example.org is bad")
    (last,) = bury([Job("Sum", "app.add", (1, 2), id="b")], error="row 8 of bob@example.org is bad")

    (group,) = await client("dead_groups")

    assert (group.state, group.count, group.example) == (GroupState.NEW, 2, last)
    assert (group.function, group.error_text) == ("app.add", "ValueError: row <n> of <mail> is bad")
    assert (group.versions, group.by, group.rescue) == (("1",), None, "")
    assert group.first is not None
    assert group.last is not None
    assert group.first <= group.last
    assert await client("dead_group", group.fingerprint) == group
    assert [row.count for row in await client("dead_groups", "mail")] == [1]
    assert first.startswith("mail.")


async def test_pages_have_all_groups_once(client: Either, bury: Bury) -> None:
    for number in range(5):
        bury(mails([f"n{number}"]), error_class=f"Error{number}")

    found: list[str] = []
    cursor = ""
    while True:
        page = await client("dead_groups", limit=2, cursor=cursor)
        found += [group.error_class for group in page]
        cursor = page.cursor
        if not cursor:
            break

    assert sorted(found) == [f"Error{number}" for number in range(5)]


async def test_a_group_that_comes_back_after_its_resolution_has_regressed(client: Either, bury: Bury) -> None:
    bury(mails(["a"]))
    (group,) = await client("dead_groups")
    assert await client("resolve", group.fingerprint, by="ann") is True
    (resolved,) = await client("dead_groups")

    bury(mails(["b"]))
    (regressed,) = await client("dead_groups")

    assert (resolved.state, resolved.by) == (GroupState.RESOLVED, "ann")
    assert (regressed.state, regressed.by, regressed.count) == (GroupState.REGRESSED, None, 2)
    assert await client("reopen", group.fingerprint, by="bob") is True
    assert (await client("dead_group", group.fingerprint)).state is GroupState.KNOWN


async def test_an_ignored_group_stays_ignored(client: Either, bury: Bury) -> None:
    bury(mails(["a"]))
    (group,) = await client("dead_groups")
    assert await client("ignore", group.fingerprint) is True
    assert await client("ignore", group.fingerprint) is False

    bury(mails(["b"]))

    assert [row.state for row in await client("dead_groups")] == [GroupState.IGNORED]


@each("verb", ["dead_group", "resolve", "ignore", "reopen"])
async def test_an_unknown_group_is_refused(client: Either, verb: str) -> None:
    with pytest.raises(
        UnknownGroup, match=r"No group '0{16}' of dead letters; 'jobfleet dead groups' lists them\."
    ) as it:
        await client(verb, "0" * 16)

    assert it.value.fingerprint == "0" * 16


def test_removing_a_queue_removes_what_is_filed(wide: Fleet, bury: Bury, raw: redis.Redis) -> None:
    bury(mails(["a", "b"]))
    (group,) = wide.dead_groups()

    wide.remove_queue("mail", purge=True)

    assert wide.dead_group(group.fingerprint).count == 0
    assert raw.keys("*filed") == raw.keys("*filing") == []
