"""The number of queues is bounded, and a queue in which nothing is open can be removed."""

from __future__ import annotations

import pytest
import redis
from click.testing import CliRunner

from jobfleet import AsyncFleet, Fleet, Job
from jobfleet.cli.main import main
from jobfleet.codec import encode
from jobfleet.cron import Cron
from jobfleet.errors import ConfigError
from jobfleet.functions.registry import Registry
from jobfleet.store.calls.presence import beat

FULL = (
    "Queue 'third' was not created: max_queues allows 2, and there are at least as many. Remove those that are not "
    "needed with 'jobfleet queues rm QUEUE', or raise max_queues."
)
pytestmark = pytest.mark.filterwarnings("ignore:No worker has published:UserWarning")


@pytest.fixture
def registry() -> Registry:
    registry = Registry()
    registry.register(lambda: 1, name="test.one")
    registry.register(lambda: 1 / 0, name="test.bad", max_retries=0)
    return registry


def keys_of(raw: redis.Redis, queue: str) -> list[bytes]:
    return [key for key in raw.keys(f"{{jobfleet:{queue}:*") if isinstance(key, bytes)]


def test_a_queue_beyond_the_bound_is_refused_and_the_others_go_on(redis_url: str, registry: Registry) -> None:
    with Fleet(redis_url, registry=registry, max_queues=2) as fleet:
        fleet.enqueue(Job("a", "test.one", queue="first"))
        fleet.enqueue(Job("a", "test.one", queue="second"))

        with pytest.raises(ConfigError) as refused:
            fleet.enqueue(Job("a", "test.one", queue="third"))
        receipts = list(fleet.enqueue_many(Job("a", "test.one", queue=name) for name in ("third", "first")))

        assert str(refused.value) == FULL
        assert [str(receipt.error) if receipt.error else "" for receipt in receipts] == [FULL, ""]
        assert [queue.name for queue in fleet.queues()] == ["first", "second"]


def test_an_idle_queue_is_removed_with_all_that_it_kept(raw: redis.Redis, redis_url: str, registry: Registry) -> None:
    with Fleet(redis_url, registry=registry, lanes={"bulk": 3}) as fleet:
        ids = [fleet.enqueue(Job("a", "test.one", queue="bulk")) for _ in range(20)]
        fleet.run_worker(burst=True, queues=["bulk"])
        fleet.limits.set("bulk", group="acme", concurrency=3)
        assert {result.result for result in map(fleet.poll, ids)} == {1}

        assert fleet.remove_queue("bulk") == 0

        assert fleet.queues() == []
        assert [key for key in keys_of(raw, "bulk") if raw.pttl(key) < 0] == []  # results and answers go by themselves
        assert fleet.poll(ids[0]).result == 1
        fleet.enqueue(Job("a", "test.one", queue="bulk"))
        assert [queue.name for queue in fleet.queues()] == ["bulk"]


async def test_what_waits_and_what_is_dead_keeps_a_queue_unless_it_is_purged(
    raw: redis.Redis, redis_url: str, registry: Registry
) -> None:
    async with AsyncFleet(redis_url, registry=registry) as fleet:
        await fleet.enqueue(Job("a", "test.bad", queue="bulk"))
        await fleet.run_worker(burst=True, queues=["bulk"])
        await fleet.enqueue(Job("a", "test.one", queue="bulk", delay=3600))

        with pytest.raises(ConfigError, match=r"^Queue 'bulk' still has jobs: 1 waiting, 1 dead; "):
            await fleet.remove_queue("bulk")
        assert [queue.name for queue in await fleet.queues()] == ["bulk"]

        assert await fleet.remove_queue("bulk", purge=True) == 1
        assert await fleet.queues() == []


def test_a_queue_that_is_served_or_recurs_or_is_unknown_is_not_removed(redis_url: str, registry: Registry) -> None:
    with Fleet(redis_url, registry=registry) as fleet:
        fleet.enqueue(Job("a", "test.one", queue="bulk"))
        account = encode({"queues": ["bulk"], "state": "running"})
        fleet.store.run(beat(fleet.context.keys, "box:1:a", account=account, gone_us=10**8))
        with pytest.raises(ConfigError, match=r"^Queue 'bulk' is served by box:1:a; stop them, "):
            fleet.remove_queue("bulk", purge=True)

        fleet.cron.add("nightly", Cron("0 2 * * *"), Job("a", "test.one", queue="slow"))
        with pytest.raises(ConfigError, match=r"^Cron entries put jobs into 'slow': nightly\. Remove them"):
            fleet.remove_queue("slow", purge=True)

        with pytest.raises(ConfigError, match=r"^No queue 'nope'"):
            fleet.remove_queue("nope")


def test_the_command_asks_first(redis_url: str, registry: Registry, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("JOBFLEET_URL", redis_url)
    with Fleet(redis_url, registry=registry) as fleet:
        fleet.enqueue(Job("a", "test.one", queue="bulk", delay=3600))

        refused = CliRunner().invoke(main, ["queues", "rm", "bulk", "--yes"])
        asked = CliRunner().invoke(main, ["queues", "rm", "bulk", "--purge"], input="\n")
        assert [queue.name for queue in fleet.queues()] == ["bulk"]
        done = CliRunner().invoke(main, ["queues", "rm", "bulk", "--purge", "--yes"])

        assert (refused.exit_code, refused.stdout) == (2, "")
        assert "1 waiting; purge it with --purge (purge=True)" in refused.stderr
        question = "Remove queue bulk with 1 waiting job, 0 dead letters and the counts of 0 completed jobs? [y/N] "
        assert (asked.exit_code, asked.stderr.partition("[y/N] ")[0] + "[y/N] ") == (1, question)
        assert (done.exit_code, done.stdout) == (0, "Removed queue bulk.\n")
        assert fleet.queues() == []
