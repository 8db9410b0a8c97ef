"""`search`: open jobs by the exact value of an argument or of their metadata."""

from __future__ import annotations

from typing import Any

import pytest

from jobfleet import Fleet, Job, Priority
from jobfleet.codec import encode
from jobfleet.errors import ConfigError, InvalidJob
from jobfleet.functions.manifest import function_record
from jobfleet.store.calls.presence import beat
from tests.client.either import Either
from tests.support.each import each

pytestmark = pytest.mark.filterwarnings("ignore:No worker has published:UserWarning")


def bill(number: int, customer: str = "", *rest: object, paid: bool = False) -> None:
    """A function of which a worker has published the parameters."""


@pytest.fixture
async def ids(client: Either, fleet: Fleet) -> dict[str, str]:
    made = fleet.context.registry.register(bill, name="app.bill", fleet=fleet)
    account = encode({"host": "box", "queues": ["default"], "state": "running"})
    fleet.store.run(
        beat(fleet.context.keys, "w1", account=account, gone_us=10**9, functions={made.name: function_record(made)})
    )
    jobs = {
        "placed": Job("x", "app.bill", (7, "acme"), delay=3600),
        "named": Job("x", "app.bill", (8,), {"customer": "acme", "paid": True}, priority=Priority.LOW),
        "meta": Job("x", "other", ("7",), metadata={"customer": "acme", "order": 7}, user="ann", queue="mail"),
        "else": Job("x", "app.bill", (1, "acme ltd", [1, {"a": 2}], "acme")),
    }
    return {name: await client("enqueue", job) for name, job in jobs.items()}


@each(
    "where, found",
    [
        ("customer=acme", {"placed", "named", "meta"}),
        (["customer=acme", "number=7"], {"placed"}),
        ("order=7", {"meta"}),
        ("0=7", {"placed", "meta"}),  # a number, and a text that is typed in the same way
        ('0="7"', {"meta"}),
        ("paid=true", {"named"}),
        ("paid=1", set()),
        ('2=[1, {"a": 2}]', {"else"}),
        ("nothing=1", set()),
        ("customer=", set()),
    ],
)
async def test_open_jobs_are_found_by_a_value(client: Either, ids: dict[str, str], where: Any, found: set[str]) -> None:
    answer = await client("search", where)

    assert {job.id for job in answer.jobs} == {ids[name] for name in found}
    assert (answer.read, answer.is_all) == (4, True)


async def test_filters_and_bounds_narrow_a_search(client: Either, ids: dict[str, str]) -> None:
    indexed = await client("search", "customer=acme", user="ann")
    of_queue = await client("search", "customer=acme", queue="default", status="scheduled")
    first = await client("search", "customer=acme", limit=1)
    brief = await client("search", "customer=acme", most=2)
    await client("cancel", ids["meta"])

    assert ([job.id for job in indexed.jobs], indexed.read) == ([ids["meta"]], 1)
    assert [job.id for job in of_queue.jobs] == [ids["placed"]]
    assert (len(first.jobs), first.is_all) == (1, False)
    assert (brief.read, brief.is_all) == (2, False)
    assert (await client("search", "order=7")).jobs == []


@each("where", ["acme", "=acme", [], "password=x"])
async def test_what_cannot_be_looked_for_is_refused(client: Either, where: Any) -> None:
    with pytest.raises(InvalidJob) as caught:
        await client("search", where)

    assert caught.value.field == "where"
    with pytest.raises(ConfigError):
        await client("search", "a=1", status="completed")
