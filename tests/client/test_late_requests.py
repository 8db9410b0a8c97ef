"""Requests that a client has given up arrive all the same, later: what was done meanwhile stands.

The network holds one request back (`tests/support/late.py`). Its client times out, sends it again, and is answered.
Then somebody else does something, and is answered too. Then what was held back arrives.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import ExitStack
from typing import Any, NamedTuple

import pytest
import redis

from jobfleet import Cron, Fleet, Job, StoreUnavailable
from jobfleet.codec.frames import seal_record
from jobfleet.store.calls import lease, settle
from jobfleet.store.calls.run import Report, progress
from jobfleet.store.keys import Keyspace
from jobfleet.store.script import load, names
from tests.support.late import LateNetwork
from tests.support.server import RedisServer
from tests.support.state import exact, server_now
from tests.support.waiting import wait_until

pytestmark = pytest.mark.filterwarnings("ignore:No worker has published:UserWarning")
HOUR, MINUTE = 3600.0, 60.0


class Scene:
    """Two operators of a fleet with a namespace of its own: one has a slow network, the other is beside the server."""

    def __init__(self, server: RedisServer, raw: redis.Redis, namespace: str) -> None:
        self.raw = raw
        self.lane = Keyspace(namespace).lane("default", 0)
        self.network = LateNetwork(server.port)
        self.slow = Fleet(self.network.url, namespace=namespace, socket_timeout=0.3, patience=30)
        self.brief = Fleet(self.network.url, namespace=namespace, socket_timeout=0.3, patience=0.2)
        self.near = Fleet(server.url, namespace=namespace)
        self.id = ""
        self._nonce = 0

    def enqueue(self, **options: Any) -> None:
        """Put the job there that the case is about."""
        self.id = self.near.enqueue(Job("add", "test.add", (1, 2), **options))

    def claim(self) -> int:
        """Begin to run it; the token."""
        self._nonce += 1
        call = lease.claim(self.lane, child="w.1", nonce=self._nonce, lease_us=60_000_000, limit=1)
        (grant,) = self.near.store.run(call).grants
        return grant.token

    def fail(self) -> None:
        """Run it once, so that it is a dead letter."""
        item = settle.fail(
            self.id,
            self.claim(),
            record=seal_record({"function": "test.add"}),
            ttl_ms=60_000,
            duration_us=1,
            reason="error",
            tries="1:0:0:0:0",
        )
        self.near.store.run(settle.settle(self.lane, [item]))

    def enqueue_to_fail(self) -> None:
        """Put a dead letter there."""
        self.enqueue()
        self.fail()

    def enqueue_paused(self) -> None:
        """Put a job into a paused queue."""
        self.enqueue()
        self.near.pause("default")

    def told(self) -> dict[str, Any]:
        """The whole state, without what calls remember, and without how long keys still live."""
        return {
            name: value[0] if isinstance(value, tuple) else value
            for name, value in exact(self.raw).items()
            if ":answer:" not in name
        }

    def close(self) -> None:
        for fleet in (self.slow, self.brief, self.near):
            fleet.close()
        self.network.close()


class Case(NamedTuple):
    """What is there, what the slow operator does, and what the other one does then."""

    script: str
    given: Callable[[Scene], Any]
    act: Callable[[Fleet, Scene], Any]
    then: Callable[[Scene], Any]


def keyed(number: int, **options: Any) -> Job:
    return Job(
        "add", "test.add", (number, 0), unique="k", unique_for="queued", on_conflict="debounce", delay=MINUTE, **options
    )


def limit(fleet: Fleet, most: int) -> None:
    fleet.limits.set("default", concurrency=most)


def nightly(fleet: Fleet, text: str) -> None:
    fleet.cron.add("nightly", Cron(text), Job("add", "test.add", (1, 2)), replace=True)


def nothing(_: Scene) -> None:
    """Nobody does anything."""


CASES = {
    "a reschedule that was overruled": Case(
        "reschedule",
        lambda scene: scene.enqueue(delay=HOUR),
        lambda fleet, scene: fleet.reschedule(scene.id, delay=2 * HOUR),
        lambda scene: scene.near.reschedule(scene.id, delay=MINUTE),
    ),
    "a replay of what has died again": Case(
        "replay",
        Scene.enqueue_to_fail,
        lambda fleet, scene: fleet.replay(scene.id),
        Scene.fail,
    ),
    "a pause that was taken back": Case(
        "pause",
        lambda scene: scene.enqueue(),
        lambda fleet, _: fleet.pause("default"),
        lambda scene: scene.near.resume("default"),
    ),
    "a resume before a pause": Case(
        "resume",
        Scene.enqueue_paused,
        lambda fleet, _: fleet.resume("default"),
        lambda scene: scene.near.pause("default"),
    ),
    "a pause of a function that was taken back": Case(
        "pause_function",
        lambda scene: scene.enqueue(),
        lambda fleet, _: fleet.pause("default", function="test.add"),
        lambda scene: scene.near.resume("default", function="test.add"),
    ),
    "a pause of a group that was taken back": Case(
        "pause_group",
        lambda scene: scene.enqueue(group="acme"),
        lambda fleet, _: fleet.pause("default", group="acme"),
        lambda scene: scene.near.resume("default", group="acme"),
    ),
    "an older debounce": Case(
        "debounce",
        lambda scene: scene.near.enqueue(keyed(1)),
        lambda fleet, _: fleet.enqueue(keyed(2)),
        lambda scene: scene.near.enqueue(keyed(3)),
    ),
    "an older limit": Case(
        "set_limit",
        lambda scene: scene.enqueue(),
        lambda fleet, _: limit(fleet, 2),
        lambda scene: limit(scene.near, 7),
    ),
    "a cancellation": Case(
        "cancel", lambda scene: scene.enqueue(), lambda fleet, scene: fleet.cancel(scene.id), nothing
    ),
    "an older schedule": Case(
        "schedule",
        lambda scene: scene.enqueue(),
        lambda fleet, _: nightly(fleet, "0 2 * * *"),
        lambda scene: nightly(scene.near, "0 3 * * *"),
    ),
    "a pause of a recurring job": Case(
        "pause_entry",
        lambda scene: nightly(scene.near, "0 2 * * *"),
        lambda fleet, _: fleet.cron.pause("nightly"),
        lambda scene: scene.near.cron.resume("nightly"),
    ),
}


@pytest.fixture
def stage() -> Iterator[Callable[[str], Scene]]:
    """Makes scenes on one server, each with a namespace."""
    with RedisServer(tcp=True) as server, ExitStack() as stack:
        raw = server.client()
        for name in names():
            raw.script_load(load(name).source.decode())

        def made(namespace: str) -> Scene:
            scene = Scene(server, raw, namespace)
            stack.callback(scene.close)
            return scene

        yield made


def test_what_was_answered_stands_when_a_copy_of_an_earlier_request_arrives(stage: Callable[[str], Scene]) -> None:
    changed = []
    for number, (name, case) in enumerate(CASES.items()):
        scene = stage(f"n{number}")
        case.given(scene)
        scene.network.hold(load(case.script).sha)
        case.act(scene.slow, scene)
        assert scene.network.held == 1, name
        case.then(scene)
        before = scene.told()

        scene.network.deliver()

        changed += [name] if scene.told() != before else []

    assert changed == []


def test_a_request_that_was_given_up_does_nothing_when_it_arrives(stage: Callable[[str], Scene]) -> None:
    changed, scenes = [], []
    for number, case in enumerate(CASES.values()):
        scenes.append(scene := stage(f"n{number}"))
        case.given(scene)
        scene.network.hold(load(case.script).sha, count=100)
        with pytest.raises(StoreUnavailable):
            case.act(scene.brief, scene)
    given_up_at = server_now(scenes[0].raw)
    wait_until(lambda: server_now(scenes[0].raw) > given_up_at + 1_000_000, why="all deadlines have passed")
    before = scenes[0].told()

    for name, scene in zip(CASES, scenes, strict=True):
        scene.network.deliver()
        changed += [name] if scene.network.held == 0 or scene.told() != before else []

    assert changed == []


def test_an_older_report_of_progress_does_not_override_a_newer_one(stage: Callable[[str], Scene]) -> None:
    scene = stage("n")
    scene.enqueue()
    token = scene.claim()
    scene.network.hold(load("progress").sha)
    scene.slow.store.run(progress(scene.lane, [Report(scene.id, token, 36, b"36")], ttl_ms=60_000))
    scene.near.store.run(progress(scene.lane, [Report(scene.id, token, 297, b"297")], ttl_ms=60_000))

    scene.network.deliver()

    assert scene.raw.get(scene.lane.progress(scene.id)) == b"297"
