"""The functions of a fleet on each surface: who has them, what they take, and their last hour."""

from __future__ import annotations

import html
import json
import re
from dataclasses import replace
from datetime import timedelta

import pytest
import redis
from click.testing import CliRunner

from jobfleet import Fleet, Job, Priority
from jobfleet.cli.main import main
from jobfleet.codec import encode
from jobfleet.errors import ConfigError, InvalidJob, UnknownQueue
from jobfleet.functions.manifest import function_record
from jobfleet.model.history import FunctionTimes
from jobfleet.operations.functions import FunctionInfo
from jobfleet.samples import COMPLETED, FAILED, RETRIED, STARTED, function_series
from jobfleet.store.calls.presence import beat, know
from tests.support.sampled import store_samples
from tests.web.site import Browser

GONE_US = 20_000_000


def worker(fleet: Fleet, name: str, functions: dict[str, bytes], places: dict[str, str]) -> None:
    """A worker of the default queue beats, publishes functions, and says which ones its children know."""
    children = [[f"{name}.{number}", 70 + number, "running", 1, 20, 1, 0.1] for number in (1, 2)]
    account = encode({"host": "box", "pid": 7, "queues": ["default"], "slots": 40, "running": 2, "children": 2,
                      "state": "running", "version": "0.1.0", "kinds": [name], "processes": children})  # fmt: skip
    keys = fleet.context.keys
    fleet.store.run(beat(keys, name, account=account, gone_us=GONE_US, functions=functions))
    fleet.store.run(know(keys, name, name, gone_us=GONE_US, functions={**places, "": "default"}))


@pytest.fixture(autouse=True)
def shop(fleet: Fleet, raw: redis.Redis) -> None:
    """Two workers; one knows a function whose queue it does not serve. Of a third function, the worker has left."""

    @fleet.job(name="shop.ship", queue="mail", max_retries=7, timeout=30, unique="ship-{order}", rate="9/s")
    def ship(order: int, fast: bool = False) -> None:
        """Send the parcel of an order."""

    @fleet.job(name="shop.night", cron="0 2 * * *", tz="Europe/Berlin", priority=Priority.HIGH, retry_delay=[5, 90])
    async def night() -> None:
        """Sum up the day."""

    @fleet.job(name="shop.old", queue="mail")
    def old() -> None: ...

    records = {one.name: function_record(one) for one in (ship, night, old)}
    for queue in ("default", "mail"):
        fleet.enqueue(Job("x", "shop.ship", (1,), queue=queue, delay=3600))
    worker(fleet, "w1", records, {"shop.ship": "mail", "shop.night": "default"})
    worker(fleet, "w2", {}, {"shop.night": "default"})
    store_samples(
        raw, fleet, {function_series("shop.night"): {STARTED: 5, COMPLETED: 3, FAILED: 2, RETRIED: 1}}, ago=60
    )


IDLE = FunctionTimes("", 0, 0, 0, 0)
NIGHT = FunctionInfo(
    "shop.night", "default", "() -> None", "Sum up the day.", "async",
    {"priority": "high", "retry_delay": [timedelta(seconds=5), timedelta(seconds=90)]}, "0 2 * * * (Europe/Berlin)", "",
    ("w1", "w2"), True, FunctionTimes("shop.night", 5, 3, 2, 1),
)  # fmt: skip
OLD = FunctionInfo("shop.old", "mail", "() -> None", "", "thread", last_hour=replace(IDLE, function="shop.old"))
SHIP = FunctionInfo(
    "shop.ship", "mail", "(order: int, fast: bool = False) -> None", "Send the parcel of an order.", "thread",
    {"max_retries": 7, "timeout": timedelta(seconds=30), "unique": "ship-{order}"}, limit="9/s", workers=("w1",),
    last_hour=replace(IDLE, function="shop.ship"),
)  # fmt: skip
FILTERS: list[tuple[dict[str, str], list[FunctionInfo]]] = [
    ({}, [NIGHT, OLD, SHIP]),
    ({"function": "shop.ship"}, [SHIP]),
    ({"queue": "mail"}, [OLD, SHIP]),
    ({"worker": "w1"}, [NIGHT, SHIP]),
    ({"worker": "w2", "queue": "mail"}, []),
]


@pytest.mark.parametrize(("filters", "wanted"), FILTERS)
def test_each_surface_lists_the_functions_with_who_has_them(
    fleet: Fleet, browser: Browser, redis_url: str, filters: dict[str, str], wanted: list[FunctionInfo]
) -> None:
    query = "&".join(f"{name}={text}" for name, text in filters.items())
    flags = [part for name, text in filters.items() for part in (f"--{name}", text)]

    page = browser.get(f"/functions?{query}").text
    of_api = browser.get(f"/api/v1/functions?{query}").json["functions"]
    of_command = json.loads(CliRunner().invoke(main, ["--url", redis_url, "functions", *flags, "-o", "json"]).stdout)

    assert fleet.functions(**filters) == wanted
    assert re.findall(r'<tr id="function-([^"]+)"', page) == [one.name for one in wanted]
    assert of_api == of_command
    assert [
        (one["name"], tuple(one["workers"]), one["options"].keys(), one["last_hour"]["started"]) for one in of_api
    ] == [(one.name, one.workers, one.options.keys(), one.last_hour.started) for one in wanted if one.last_hour]


def test_a_wrong_filter_names_what_there_is(fleet: Fleet) -> None:
    with pytest.raises(UnknownQueue, match="did you mean 'mail'"):
        fleet.functions(queue="mial")
    with pytest.raises(ConfigError, match="There is no live worker 'w3'"):
        fleet.functions(worker="w3")
    with pytest.raises(InvalidJob, match=r"No worker has published 'shop.shipp'; did you mean 'shop.ship'\?"):
        fleet.functions(function="shop.shipp")


def words(page: str) -> str:
    return re.sub(r"\s+", " ", html.unescape(re.sub(r"<[^>]+>", "", page.replace("<wbr>", ""))))


def test_the_functions_lead_to_their_jobs_and_workers(browser: Browser) -> None:
    every, one, of_worker = (browser.get(path).text for path in ("/functions", "/functions/shop.ship", "/workers/w1"))

    rows = dict(re.findall(r'<tr id="function-([^"]+)">(.*?)</tr>', every, re.DOTALL))
    assert "no live worker" in rows["shop.old"]
    assert "queue not served" in rows["shop.ship"]
    assert "state" not in rows["shop.night"]
    links = re.findall(r'href="([^"]+)"', html.unescape(rows["shop.night"]))
    assert links == [
        "/functions/shop.night", "/queues/default", "/workers/w1", "/workers/w2", "/cron/shop.night",
        "/jobs?function=shop.night", "/dead/letters?function=shop.night",
    ]  # fmt: skip
    assert "Takes(order: int, fast: bool = False) -> None" in words(one)
    assert "w1; none of them serves its queue" in words(one)
    assert "Timeout30 s" in words(one)
    assert re.findall(r'<tr id="function-([^"]+)"', of_worker) == ["shop.night", "shop.ship"]
    assert "2 of 40 slots, 5% 20 in each of 2 processes" in words(of_worker)


def test_the_command_shows_one_function_in_full(redis_url: str) -> None:
    def shown(*args: str) -> list[str]:
        result = CliRunner().invoke(main, ["--url", redis_url, *args])
        assert result.exit_code == 0, result.output
        return [" ".join(line.split()) for line in result.stdout.splitlines()]

    assert shown("functions") == [
        "FUNCTION QUEUE WORKERS RUNS FAILED RETRIED WAIT P95 RUN P95 SCHEDULE NOTE",
        "shop.night default 2 5 2 1 - - 0 2 * * * (Europe/Berlin) Sum up the day.",
        "shop.old mail 0 0 0 0 - - no live worker knows it",
        "shop.ship mail 1 0 0 0 - - no worker that knows it serves its queue",
    ]
    assert shown("functions", "--function", "shop.ship") == [
        "function shop.ship(order: int, fast: bool = False) -> None", "Send the parcel of an order.", "queue mail",
        "runs in thread", "workers w1", "trouble no worker that knows it serves its queue",
        "max retries 7", "timeout 30 s", "unique ship-{order}", "limit 9/s",
        "last hour 0 started, 0 completed, 0 failed",
    ]  # fmt: skip
    unknown = CliRunner().invoke(main, ["--url", redis_url, "functions", "--function", "shop.shipp"])
    assert (unknown.exit_code, unknown.stderr) == (
        3, "No worker has published 'shop.shipp'; did you mean 'shop.ship'?\n",
    )  # fmt: skip
    assert "running 2 of 40 slots (5%), 20 in each of 2 processes" in shown("workers", "show", "w1")
