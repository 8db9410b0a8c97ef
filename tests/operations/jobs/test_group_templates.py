"""The group of a function that names arguments."""

from __future__ import annotations

import uuid
from enum import StrEnum
from typing import Any

import pytest
import redis

from jobfleet import Cron, Fleet, InvalidJob, Job
from jobfleet.codec import decode, read_header
from jobfleet.config import JobConfig
from jobfleet.errors import EncodingError
from jobfleet.functions.manifest import function_record, read_function, read_parameters
from jobfleet.functions.registry import JobFunction, Registry
from jobfleet.operations.cron import Decorated, decorated
from jobfleet.operations.fleet_context import FleetContext
from jobfleet.operations.jobs.prepare import Resolved, resolve, submission_in
from jobfleet.store.calls.presence import beat
from jobfleet.store.keys import Keyspace
from jobfleet.store.records import FleetSeen
from tests.client.either import Either
from tests.support.each import each


class Plan(StrEnum):
    FREE = "free"


def bill(number: int, customer: Any = "acme", *, plan: Any = Plan.FREE) -> None:
    """Bill a customer."""


def made(group: Any = "{customer}", **options: Any) -> JobFunction[..., Any, Any]:
    return Registry().register(bill, name="app.bill", group=group, **options)


def group_of(job: Job, function: Resolved | None = None) -> str | None:
    context = FleetContext(JobConfig(), registry=Registry())
    context.remember("default", (1, 1))
    known = function or resolve(job, context.registry)
    assert known is not None
    group = read_header(submission_in(context, job, known).entry.envelope).get("group")
    return None if group is None else str(group)


@each(
    "template, args, kwargs, group",
    [
        ("{customer}", (1, "zeta"), {}, "zeta"),
        ("{customer}", (1,), {}, "acme"),
        ("{customer}", (1,), {"customer": 7}, "7"),
        ("{customer}-{plan}", (1,), {"customer": uuid.UUID(int=0)}, "00000000-0000-0000-0000-000000000000-free"),
        ("{0:05}", (7,), {}, "00007"),
        ("{customer[id]}", (1, {"id": 9}), {}, "9"),
        ("{{x}}", (1,), {}, "{x}"),
        ("plain", (1, "zeta"), {}, "plain"),
    ],
)
def test_a_group_is_made_from_the_arguments(
    template: str, args: tuple[Any, ...], kwargs: dict[str, Any], group: str
) -> None:
    assert group_of(made(template).job(*args, **kwargs)) == group


def test_the_group_of_a_job_comes_first_and_is_a_name() -> None:
    function = made()

    assert group_of(function.options(group="own").job(1, "zeta")) == "own"
    assert group_of(function.options(group="{customer}").job(1, "zeta")) == "{customer}"
    assert group_of(function.options(group=None).job(1, "zeta")) is None
    assert group_of(function.options(timeout=5).job(1, "zeta")) == "zeta"


@each(
    "value, text",
    [
        (None, "group names {customer}, which is None in this call; give a text or a number there"),
        ([7], "group names {customer}, which is [7] in this call; give a text or a number there"),
        (b"x", "group names {customer}, which is b'x' in this call; give a text or a number there"),
        ({"id": 7}, "group names {customer}, which is {'id': 7} in this call"),
        (object(), "group names {customer}, which is <object object at"),
        ("", "group is ''; give a printable text"),
        ("*", "group is '*'; give a printable text"),
        ("x" * 201, "group is 'xxx"),
    ],
)
def test_a_value_that_makes_no_name_is_refused(value: Any, text: str) -> None:
    with pytest.raises(InvalidJob) as caught:
        group_of(made().job(1, value))

    assert caught.value.field == "group"
    assert str(caught.value).startswith(text)


def test_an_argument_that_is_missing_or_has_no_such_part_is_refused() -> None:
    def loose(**rows: Any) -> None:
        """Take anything."""

    function = Registry().register(loose, name="app.loose", group="{customer}")

    with pytest.raises(InvalidJob, match=r"^group names \{customer\}, which is not an argument of this call; it has n"):
        group_of(function.job(n=1))
    with pytest.raises(InvalidJob, match=r"^group '\{customer.id\}' cannot be made from this call: 'str' object"):
        group_of(made("{customer.id}").job(1))


@each("group", ["{tenant}", "{customer", "{_x._y}", "{}{tenant}", "{customer!q:{plan}}"])
def test_a_template_that_cannot_be_filled_is_refused_at_the_decorator(group: str) -> None:
    with pytest.raises(InvalidJob, match=r"^group (names|is|holds)") as caught:
        made(group)

    assert caught.value.field == "group"


def test_a_template_is_published_where_earlier_revisions_do_not_take_it_for_a_name() -> None:
    record = function_record(made())
    fields = decode(record)
    far = Resolved("app.bill", read_function(record), read_parameters(record))

    assert isinstance(fields, dict)
    assert fields["group"] == "{customer}"
    assert "group" not in fields["options"]
    assert group_of(Job("x", "app.bill", (1, "zeta")), far) == "zeta"
    assert group_of(Job("x", "app.bill", (1,)), far) == "acme"
    assert group_of(Job("x", "app.bill", (1,), group="own"), far) == "own"
    assert read_function(function_record(made("plain")))["group"] == "plain"


async def test_a_producer_that_knows_only_the_name_fills_the_template(client: Either, raw: redis.Redis) -> None:
    context = client.fleet.context
    with Fleet(context.config.url) as worker:
        functions = {"app.bill": function_record(made(queue="bills"))}
        worker.store.run(beat(Keyspace("jobfleet"), "w", account=b"", gone_us=60_000_000, functions=functions))

    job_id = await client("enqueue", Job("x", "app.bill", (1, "zeta")))

    assert job_id.startswith("bills.")
    assert (await client("poll", job_id)).group == "zeta"
    with pytest.raises(InvalidJob, match=r"^group names \{customer\}, which is None"):
        await client("enqueue", Job("x", "app.bill", (1, None)))


def test_a_decorated_recurring_job_uses_the_defaults() -> None:
    function = made(cron=Cron("0 2 * * *"))
    seen = FleetSeen(0, {}, (), {"app.bill": function_record(function)})

    (found,) = decorated(FleetContext(JobConfig()), seen)

    assert isinstance(found, Decorated)
    assert found.entry.meta == "g acme"


def test_an_argument_that_cannot_travel_is_still_named() -> None:
    with pytest.raises(EncodingError):
        group_of(made().job(object(), "zeta"))
