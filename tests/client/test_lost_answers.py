"""An answer is lost after the work was done, and the request is sent again: the caller gets the first answer."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from itertools import chain
from typing import Any, NamedTuple

import pytest
import redis
from redis.exceptions import ConnectionError as RedisConnectionError

from jobfleet import Cron, Fleet, Job
from jobfleet.codec.frames import seal_record
from jobfleet.store.call import Command
from jobfleet.store.calls import lease, settle
from jobfleet.store.keys import Keyspace
from jobfleet.store.link.sync import Link
from jobfleet.store.script import load
from jobfleet.store.sync import Store
from jobfleet.store.target import target

pytestmark = pytest.mark.filterwarnings("ignore:No worker has published:UserWarning")
LANE = Keyspace("jobfleet").lane("default", 0)
HOUR = 3600.0


class Losing:
    """A link that does what it is asked, and loses the first answer of one script.

    Args:
        link: The way to the server.
        script: Whose answer is lost.

    Attributes:
        lost: How many answers were lost.
    """

    def __init__(self, link: Link, script: str) -> None:
        self._link = link
        self._scripts = (load(script).sha, load(script).source)
        self.lost = 0

    def exchange(self, commands: Sequence[Command]) -> list[Any]:
        """Send commands; lose the answers from the first of the script's on, once."""
        replies = self._link.exchange(commands)
        for place, (command, reply) in enumerate(zip(commands, replies, strict=True)):
            if not self.lost and len(command) > 1 and command[1] in self._scripts and isinstance(reply, list):
                self.lost = 1
                error = RedisConnectionError("Connection closed by server.")
                return replies[:place] + [error] * (len(replies) - place)
        return replies

    def exchange_as_made(self, parts: Iterator[Sequence[Command]]) -> list[Any]:
        """Likewise."""
        return self.exchange(list(chain.from_iterable(parts)))

    def greet(self, *, leaves: bool) -> Mapping[str, str] | BaseException:
        """What the server of a new connection says of itself."""
        return self._link.greet(leaves=leaves)

    def close(self) -> None:
        """Let the connections go."""
        self._link.close()


class Scene:
    """A fleet with one job."""

    def __init__(self, fleet: Fleet) -> None:
        self.fleet = fleet
        self.id = ""

    def waits(self) -> None:
        self.id = self.fleet.enqueue(Job("add", "test.add", (1, 2), group="acme"))

    def has_failed(self) -> None:
        self.waits()
        call = lease.claim(LANE, child="w.1", nonce=1, lease_us=60_000_000, limit=1)
        url = self.fleet.config.url.replace("//operator:operator@", "//worker:worker@")  # where tests have users
        worker = Store(target(url))
        (grant,) = worker.run(call).grants
        item = settle.fail(
            self.id, grant.token, record=seal_record({"function": "test.add"}), ttl_ms=60_000, duration_us=1,
            reason="error", tries="1:0:0:0:0",
        )  # fmt: skip
        worker.run(settle.settle(LANE, [item]))
        worker.close()

    def is_paused(self) -> None:
        self.waits()
        self.fleet.pause("default")
        self.fleet.pause("default", group="acme")
        self.fleet.pause("default", function="test.add")

    def recurs(self) -> None:
        self.fleet.cron.add("nightly", Cron("0 2 * * *"), Job("add", "test.add", (1, 2)))

    def recurs_no_more(self) -> None:
        self.recurs()
        self.fleet.cron.pause("nightly")

    def is_limited(self) -> None:
        self.waits()
        self.fleet.limits.set("default", concurrency=3)


class Case(NamedTuple):
    """Whose answer is lost, what is there, and what is done."""

    script: str
    given: Callable[[Scene], None]
    act: Callable[[Scene], object]


def add_nightly(scene: Scene) -> object:
    return scene.fleet.cron.add("nightly", Cron("0 2 * * *"), Job("add", "test.add", (1, 2)))


CASES = {
    "cancel": Case("cancel", Scene.waits, lambda scene: scene.fleet.cancel(scene.id)),
    "cancel many": Case("cancel", Scene.waits, lambda scene: scene.fleet.cancel_many(queue="default")),
    "replay": Case("replay", Scene.has_failed, lambda scene: scene.fleet.replay(scene.id)),
    "purge": Case("purge", Scene.has_failed, lambda scene: scene.fleet.purge(scene.id)),
    "reschedule": Case("reschedule", Scene.waits, lambda scene: scene.fleet.reschedule(scene.id, delay=HOUR)),
    "move": Case("cancel", Scene.waits, lambda scene: scene.fleet.move(scene.id, "other") and None),
    "pause": Case("pause", Scene.waits, lambda scene: scene.fleet.pause("default")),
    "resume": Case("resume", Scene.is_paused, lambda scene: scene.fleet.resume("default")),
    "pause a group": Case("pause_group", Scene.waits, lambda scene: scene.fleet.pause("default", group="acme")),
    "resume a group": Case("resume_group", Scene.is_paused, lambda scene: scene.fleet.resume("default", group="acme")),
    "pause a function": Case(
        "pause_function", Scene.waits, lambda scene: scene.fleet.pause("default", function="test.add")
    ),
    "resume a function": Case(
        "resume_function", Scene.is_paused, lambda scene: scene.fleet.resume("default", function="test.add")
    ),
    "set a limit": Case("set_limit", Scene.waits, lambda scene: scene.fleet.limits.set("default", concurrency=2)),
    "clear a limit": Case("set_limit", Scene.is_limited, lambda scene: scene.fleet.limits.clear("default")),
    "add a recurring job": Case("schedule", Scene.waits, add_nightly),
    "remove a recurring job": Case("remove_entry", Scene.recurs, lambda scene: scene.fleet.cron.remove("nightly")),
    "pause a recurring job": Case("pause_entry", Scene.recurs, lambda scene: scene.fleet.cron.pause("nightly")),
    "resume a recurring job": Case(
        "pause_entry", Scene.recurs_no_more, lambda scene: scene.fleet.cron.resume("nightly")
    ),
}


@pytest.mark.parametrize("case", CASES.values(), ids=list(CASES))
def test_the_answer_is_that_of_the_first_time(redis_url: str, raw: redis.Redis, case: Case) -> None:
    with Fleet(redis_url, patience=20) as fleet:
        scene = Scene(fleet)
        case.given(scene)
        expected = case.act(scene)
    raw.flushall()

    lost, answer = with_an_answer_lost(redis_url, case)

    assert lost == 1
    assert answer == expected


def with_an_answer_lost(redis_url: str, case: Case) -> tuple[int, object]:
    """How many answers were lost, and what the caller got in the end."""
    with Fleet(redis_url, patience=20) as fleet:
        scene = Scene(fleet)
        case.given(scene)
        fleet.store.link = link = Losing(fleet.store.link, case.script)
        answer = case.act(scene)
        return link.lost, answer


@pytest.mark.parametrize("verb", ["cancel", "replay"])
def test_with_every_first_answer_lost_each_of_twenty_calls_is_answered_as_without(
    redis_url: str, raw: redis.Redis, verb: str
) -> None:
    told = []
    for _ in range(20):
        raw.flushall()
        told.append(with_an_answer_lost(redis_url, CASES[verb]))

    assert told == [(1, True)] * 20
