"""Notifications of real reapers, to a real receiver and a real mailbox; a reaper that dies loses none."""

from __future__ import annotations

import json
import signal
import socket
import threading
from functools import partial
from typing import Any

import pytest
import redis

from jobfleet import Fleet, Job
from jobfleet.notify import verify_webhook
from jobfleet.store.keys import Keyspace
from tests.support.fleet import LONG, Programs
from tests.support.mailbox import Mailbox
from tests.support.receiver import Receiver, says
from tests.support.state import server_now
from tests.support.waiting import wait_until

SECRET = "correct horse battery"
KEYS = Keyspace("jobfleet")
LANE = KEYS.lane("default", 0)


def hook(receiver: Receiver) -> dict[str, object]:
    return {
        "type": "webhook", "url": receiver.url, "secret": {"env": "HOOK_SECRET"}, "allow_http": True,
        "allow_private": True,
    }  # fmt: skip


def failing(row: int) -> Job:
    return Job("fail", "notifying.fail", (row,))


def jobs_told(receiver: Receiver) -> set[str]:
    return {request.data["job"]["id"] for request in receiver.requests}


def make_due(raw: Any, key: str) -> None:
    """Let the time come for all that a sorted set holds."""
    for member in raw.zrange(key, 0, -1):
        raw.zadd(key, {member: server_now(raw)}, xx=True)


def let_leases_run_out(raw: Any) -> None:
    """Whatever a reaper that died holds may be taken by another, as if the time was over."""
    make_due(raw, KEYS.channel("team").due)
    for row in raw.xpending_range(LANE.journal, "notify", "-", "+", 100):
        raw.xclaim(LANE.journal, "notify", row["consumer"], 0, [row["message_id"]], idle=3_600_000, justid=True)


def has_gathered(raw: Any, channel: str, count: int) -> bool:
    """Whether so many notices have gathered in windows that are open."""
    keys = KEYS.channel(channel)
    rows = [raw.hget(keys.groups, kind) for kind in raw.zrange(keys.windows, 0, -1)]
    return sum(int(row.split(b" ")[0]) for row in rows) == count


@pytest.mark.parametrize("when", ["while it sends", "before it notes what it has sent"])
def test_two_reapers_tell_of_each_failure_though_one_is_killed(
    programs: Programs, fleet: Fleet, raw: redis.Redis, monkeypatch: pytest.MonkeyPatch, when: str
) -> None:
    monkeypatch.setenv("HOOK_SECRET", SECRET)
    got, may_answer = threading.Semaphore(0), threading.Event()

    def slowly(connection: socket.socket, over: threading.Event) -> None:
        got.release()
        while not may_answer.wait(0.01):
            if over.is_set():
                return
        says(204)(connection, over)

    with Receiver(slowly) as receiver:
        rules = [{"events": ["failed"], "window": 0}]
        table = json.dumps({"channels": {"team": hook(receiver)}, "rules": rules})
        reapers = [programs.reaper(notify=table) for _ in range(2)]
        programs.ready("notifying")
        wait_until(lambda: raw.exists(KEYS.consumers), timeout=LONG, why="the journal is written")
        ids = [receipt.id for receipt in fleet.enqueue_many(failing(n) for n in range(30))]
        for _ in reapers:  # both have one in hand: what has gone out is not noted yet
            assert got.acquire(timeout=LONG)
        if when == "while it sends":
            reapers[0].send_all(signal.SIGKILL)
            reapers[0].exit_code()
            may_answer.set()
        else:
            may_answer.set()
            wait_until(lambda: len(receiver.requests) > 4, timeout=LONG, why="some are sent")
            reapers[0].send_all(signal.SIGKILL)
            reapers[0].exit_code()

        def all_are_told() -> bool:
            let_leases_run_out(raw)
            return jobs_told(receiver) == set(ids)

        wait_until(all_are_told, timeout=LONG, why="all failures are told")
        wait_until(lambda: raw.hlen(KEYS.channel("team").held) == 0, timeout=LONG, why="nothing is left to tell")

    deliveries = {verify_webhook(SECRET, request.headers, request.body) for request in receiver.requests}
    assert len(deliveries) == len(ids)
    assert SECRET not in programs.logs()


def test_a_worker_with_a_reaper_tells_what_code_and_settings_say_gathered_by_kind(
    programs: Programs, fleet: Fleet, raw: redis.Redis, monkeypatch: pytest.MonkeyPatch
) -> None:
    with Receiver() as receiver, Mailbox() as box:
        monkeypatch.setenv("NOTIFYING_HOOK", receiver.url)
        office = {
            "type": "email", "host": "localhost", "port": box.port, "security": "none", "sender": "jobs@example.com",
            "to": "ann@example.com",
        }  # fmt: skip
        table = json.dumps({"channels": {"office": office}})
        worker = programs.ready("notifying", with_reaper="true", notify=table)
        wait_until(lambda: raw.exists(KEYS.consumers), timeout=LONG, why="the journal is written")
        first = fleet.enqueue(failing(0))
        wait_until(lambda: receiver.requests and box.mails, timeout=LONG, why="the first is told")
        for row in range(1, 21):
            fleet.enqueue(failing(row))
        for name in ("code", "office"):
            wait_until(partial(has_gathered, raw, name, 20), timeout=LONG, why="the others have gathered")
            make_due(raw, KEYS.channel(name).windows)
        wait_until(lambda: len(receiver.requests) == len(box.mails) == 2, timeout=LONG, why="the others are told")
        worker.send(signal.SIGTERM)
        assert worker.exit_code() == 0

    one, many = (request.data for request in receiver.requests)
    assert (one["count"], one["job"]["id"]) == (1, first)
    assert one["text"] == "notifying.fail failed with ConnectionError: row 0 refused"
    assert many["count"] == 20
    assert many["text"].startswith("20 jobs failed with ConnectionError")
    assert [mail["Subject"].split(" failed")[0] for mail in box.mails] == [
        "[jobfleet] notifying.fail",
        "[jobfleet] 20 jobs",
    ]
