"""The audit of the commands on dead letters: each is recorded with its author, its time and what it changed."""

from __future__ import annotations

import json
from datetime import UTC, datetime, timedelta
from typing import Any

from tests.cli.hand import Cli, Hand


def test_every_command_on_dead_letters_is_recorded(cli: Cli, hand: Hand) -> None:
    first, second = (hand.buries(name) for name in "ab")
    (group,) = cli("dead", "groups", "-o", "ids").stdout.split()
    began = datetime.now(UTC)
    for line in (
        f"dead replay {first}", f"dead purge {second} --yes", f"dead resolve {group}", f"dead ignore {group}",
        f"dead reopen {group}",
    ):  # fmt: skip
        assert cli(*line.split(), "--by", "ann").exit_code == 0, line
    hand.completes(hand.claims(first), 3)
    hand.buries("c")
    hand.buries("d", queue="mail")
    for line in (
        f"dead rescue {group} --canary 2 --rate 5/s", f"dead stop-rescue {group}", f"dead undo-rescue {group}",
        f"dead replay --fingerprint {group} --queue mail --yes", "dead purge --all --yes",
    ):  # fmt: skip
        assert cli(*line.split(), "--by", "ann").exit_code == 0, line

    entries: list[dict[str, Any]] = json.loads(cli("audit", "-o", "json").stdout)["entries"]

    (rescue,) = cli("dead", "rescues", "-o", "ids").stdout.split()
    failed, plan = {"status": "failed"}, {"rate": "5/s", "canary": [2], "stop_after": 1, "id": rescue}
    stopped = {"state": "stopped"}
    assert [(one["action"], one["target"], one["before"], one["after"], one["outcome"], one["count"])
            for one in reversed(entries)] == [
        ("job.replay", first, failed, {}, "done", None),
        ("job.purge", second, failed, {}, "done", None),
        ("dead.resolve", group, {"state": "new"}, {"state": "resolved"}, "done", None),
        ("dead.ignore", group, {"state": "resolved", "decided_by": "ann"}, {"state": "ignored"}, "done", None),
        ("dead.reopen", group, {"state": "ignored", "decided_by": "ann"}, {"state": "known"}, "done", None),
        ("rescue.start", group, {"state": "known", "letters": 2}, plan, "done", None),
        ("rescue.stop", rescue, {"state": "running", "replayed": 0, "in_flight": 0}, stopped, "done", None),
        ("rescue.undo", rescue, {**stopped, "replayed": 0, "in_flight": 0}, stopped, "unchanged", None),
        ("dead.replay", f"queue=mail fingerprint={group}", {}, {}, "done", 1),
        ("dead.purge", "all queues", {}, {}, "done", 1),
    ]  # fmt: skip
    assert {(one["by"], one["source"], one["error"]) for one in entries} == {("ann", "cli", None)}
    times = [datetime.fromisoformat(one["at"]) for one in reversed(entries)]
    assert times == sorted(times)
    assert began - timedelta(seconds=1) <= times[0]
    assert all(one["ended_at"] >= one["at"] for one in entries)
