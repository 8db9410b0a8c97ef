"""The answers for autoscalers: the same as those of a client, for a second, and refusals with their status."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest
import redis

from jobfleet import AsyncFleet
from jobfleet.cli.invocation import REDACTION
from jobfleet.client.json_form import JsonForm
from jobfleet.clock import monotonic
from jobfleet.config import JobConfig
from jobfleet.services.endpoint import KEPT, READS, ScaleAnswers
from jobfleet.store.aio import AsyncStore
from jobfleet.store.target import target
from tests.support.seed import Seed


@pytest.fixture
async def answers(store: AsyncStore, fleet: AsyncFleet, redis_url: str) -> ScaleAnswers:
    await store.run(fleet.context.open_queue_call("mail"))
    return ScaleAnswers(store, JobConfig(url=redis_url))


async def ask(answers: ScaleAnswers, queue: str = "mail", **query: str) -> tuple[int, dict[str, Any]]:
    status, body = await asyncio.to_thread(answers, queue, query)
    return int(status), dict(body)


async def test_it_answers_as_a_client_and_as_the_api(
    answers: ScaleAnswers, fleet: AsyncFleet, raw: redis.Redis
) -> None:
    seed = Seed(raw, fleet.context.keys.lane("mail", 0))
    for number in range(400):
        seed.waiting(str(number), due=-10)

    status, body = await ask(answers, most="7", wait="20s", hold="60")

    assert status == 200
    form = JsonForm(REDACTION)
    assert {**body, "remove": list(body["remove"])} == form.scale(await fleet.scale("mail", most=7, wait=20, hold=60))
    assert body["workers"] >= 1


async def test_an_answer_is_repeated_for_a_second_and_few_are_kept(
    answers: ScaleAnswers, fleet: AsyncFleet, raw: redis.Redis
) -> None:
    assert (await ask(answers))[1]["waiting"] == 0
    Seed(raw, fleet.context.keys.lane("mail", 0)).waiting("1", due=-10)
    for number in range(KEPT + 5):
        answers._kept["mail", answers_rule(number)] = (float("-inf"), (None, {}))  # type: ignore[assignment]

    assert (await ask(answers))[1]["waiting"] == 0
    assert (await ask(answers, hold="61"))[1]["waiting"] == 1
    assert len(answers._kept) == 1


def answers_rule(number: int) -> Any:
    from jobfleet.model.scale import ScaleRule

    return ScaleRule(most=1000 + number)


@pytest.mark.parametrize(
    ("queue", "query", "status", "text"),
    [
        ("mial", {}, 404, "No queue 'mial'"),
        ("no queue", {}, 400, "no queue"),
        ("mail", {"most": "many"}, 400, "most is 'many'; give a whole number."),
        ("mail", {"most": "-1"}, 400, "most is '-1'; give a whole number."),
        ("mail", {"wait": "0"}, 400, "wait is '0'; give 1 second to 1 day."),
        ("mail", {"max": "3"}, 400, "There is no parameter 'max'; there are: least, most, wait, hold."),
    ],
)
async def test_refusals_name_what_is_wrong(
    answers: ScaleAnswers, queue: str, query: dict[str, str], status: int, text: str
) -> None:
    got, body = await ask(answers, queue, **query)

    assert got == status
    assert text in body["wrong"][0]


async def test_without_redis_it_is_unavailable() -> None:
    url = "redis://127.0.0.1:1"
    store = AsyncStore(target(url), patience=0.1)
    answers = ScaleAnswers(store, JobConfig(url=url))

    status, body = await ask(answers)
    other = await ask(answers, "other")  # not asked for again: many queues must not wait one after the other

    assert status == 503
    assert body["wrong"][0]
    assert other == (503, body)
    assert len(answers._read_at) == 1
    await store.close()


async def test_few_answers_are_computed_within_a_second(answers: ScaleAnswers) -> None:
    answers._read_at.extend([monotonic() + 60] * (READS - 1))

    statuses = [(await ask(answers, hold=f"{60 + number}"))[0] for number in range(3)]

    assert statuses == [200, 429, 429]
