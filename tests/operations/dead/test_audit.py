"""The audit of actions on dead letters: who did what and when, with the values before and after."""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from jobfleet.errors import ConfigError, UnknownGroup
from jobfleet.operations.operation import drive_blocking
from jobfleet.operations.rescues import advance
from tests.client.either import Either, finished
from tests.operations.dead.conftest import Bury
from tests.operations.dead.test_filters import mails
from tests.operations.test_audit import Hands, facts

Reaped = Callable[[str], None]


@pytest.fixture
def reaped(wide: Any) -> Reaped:
    """One step of a rescue, as a reaper does it."""
    return lambda rescue: drive_blocking(wide.store, advance(wide.context, rescue)) and None


async def test_letters_and_groups(client: Either, bury: Bury) -> None:
    first, second, *_ = bury(mails([f"n{number}" for number in range(4)]))
    (group,) = await client("dead_groups")
    name, act = group.fingerprint, Hands(client)
    new, by_ann = {"state": "new"}, {"decided_by": "ann"}
    resolved, ignored, known = {"state": "resolved"}, {"state": "ignored"}, {"state": "known"}
    failed = {"status": "failed"}

    await act("replay", first, args=["x"], has=("job.replay", first, failed, {"positional": 1}, "done"))
    await act("purge", second, has=("job.purge", second, failed, {}, "done"))
    await act("purge", second, has=("job.purge", second, failed, {}, "unchanged"))
    await act("resolve", name, has=("dead.resolve", name, new, resolved, "done"))
    await act("resolve", name, by=None, has=("dead.resolve", name, {**resolved, **by_ann}, resolved, "unchanged"))
    await act("ignore", name, has=("dead.ignore", name, {**resolved, **by_ann}, ignored, "done"))
    await act("reopen", name, by="bob", has=("dead.reopen", name, {**ignored, **by_ann}, known, "done"))
    await act("reopen", "0" * 16, raises=UnknownGroup, has=("dead.reopen", "0" * 16, {}, known, "error"))
    await act("replay_many", fingerprint=name, has=("dead.replay", f"fingerprint={name}", {}, {}, "done", 2))
    await act("replay_many", "mail", has=("dead.replay", "queue=mail", {}, {}, "unchanged", 0))

    entries = (await client("audit", limit=100)).entries
    assert [facts(entry) for entry in entries] == act.wanted
    assert all(datetime.now(UTC) - entry.at < timedelta(minutes=5) for entry in entries)


async def test_rescues(client: Either, bury: Bury, reaped: Reaped) -> None:
    bury(mails([f"n{number}" for number in range(4)]))
    (group,) = await client("dead_groups")
    name, act = group.fingerprint, Hands(client)
    plan = {"rate": "5/s", "canary": [1], "stop_after": 2}
    letters = {"state": "new", "letters": 4}

    begun = await act("rescue", name, rate="5/s", canary=(1,), stop_after=2,
                      has=("rescue.start", name, letters, lambda made: {**plan, "id": made.id}, "done"))  # fmt: skip
    await act("rescue", name, rate="5/s", canary=(1,), stop_after=2, raises=ConfigError,
              has=("rescue.start", name, letters, plan, "error"))  # fmt: skip
    await finished(reaped, begun.id)
    running = {"state": "running", "replayed": 1, "in_flight": 1}
    stopped, undone = {**running, "state": "stopped"}, {"state": "undone", "replayed": 0, "in_flight": 0}
    hands = RescueHands(act, begun)
    await hands("stop", has=("rescue.stop", begun.id, running, {"state": "stopped"}, "done"))
    await hands("stop", by=None, has=("rescue.stop", begun.id, stopped, {"state": "stopped"}, "unchanged"))
    await hands("undo", has=("rescue.undo", begun.id, stopped, {"state": "undone"}, "done"))
    await hands("undo", has=("rescue.undo", begun.id, undone, {"state": "undone"}, "unchanged"))

    assert [facts(entry) for entry in (await client("audit", limit=100)).entries] == act.wanted


class RescueHands(Hands):
    """Acts on a rescue, and keeps what the audit is to have with what was done before."""

    def __init__(self, before: Hands, rescue: Any) -> None:
        super().__init__(Either(rescue))
        self.wanted = before.wanted
