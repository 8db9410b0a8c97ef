"""The long-lived tasks of a worker inside a process and of a child: no error ends one of them."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncIterator
from types import ModuleType
from typing import Any, cast

import pytest

from jobfleet import Fleet
from jobfleet.functions.registry import Registry
from jobfleet.services.duties import notify
from jobfleet.store.channels import AsyncChannels
from jobfleet.worker.child.claimer import Claimer
from jobfleet.worker.child.main import Child
from jobfleet.worker.ipc.lease_board import LeaseBoard
from jobfleet.worker.supervisor.heartbeat import Heartbeat
from jobfleet.worker.supervisor.leases import LeaseRenewer
from tests.support.waiting import await_until, wait_until
from tests.worker.conftest import Working

FAILURES = 3


class Planted:
    """A method that fails a few times, and then works.

    Args:
        method: The true method.
    """

    def __init__(self, method: Any) -> None:
        self._method = method
        self.calls = 0

    def __call__(self, *arguments: Any, **named: Any) -> Any:
        """Fail, or call the method."""
        self.calls += 1
        if self.calls <= FAILURES:
            raise LookupError("planted")
        return self._method(*arguments, **named)


@pytest.mark.parametrize(
    ("collaborator", "name", "duties"),
    [
        (LeaseRenewer, "renew", ["cancels", "renewal"]),
        (Heartbeat, "beat", ["heartbeat"]),
        (Claimer, "_next", ["claims"]),
        (AsyncChannels, "read", ["cancels"]),
        (notify, "channels_of", ["notify"]),
    ],
)
def test_a_duty_goes_on_after_its_collaborator_has_failed(
    fleet: Fleet,
    registry: Registry,
    working: Working,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
    collaborator: type | ModuleType,
    name: str,
    duties: list[str],
) -> None:
    planted = Planted(getattr(collaborator, name))
    monkeypatch.setattr(collaborator, name, lambda *args, **named: planted(*args, **named))  # noqa: PLW0108 - a method
    handle = registry.register(lambda: 7, name="test.seven", fleet=fleet)

    with working():
        wait_until(lambda: planted.calls > FAILURES, timeout=30, why="it is called again")
        assert handle.enqueue().result(timeout=30) == 7
        wait_until(lambda: [one for one in fleet.workers() if not one.is_gone], timeout=30, why="it is heard")

    errors = [one.getMessage() for one in caplog.records if one.levelno == logging.ERROR]
    assert sorted(errors) == [f"{duty}.stumbled LookupError: planted" for duty in duties]


class Reports:
    """Takes the frames of a child."""

    def send(self, *frame: Any) -> None:
        """Ignore a frame."""


async def test_a_child_obeys_after_a_frame_that_failed() -> None:
    async def commands() -> AsyncIterator[list[Any]]:
        yield ["cancel", "default.0.a", 7, "ann"]
        yield ["hurry"]
        await asyncio.Event().wait()

    class Engine:
        def cancel(self, key: Any, by: str) -> None:
            raise LookupError("planted")

    class Watch:
        def heard(self) -> None:
            pass

    child = Child(commands(), cast(Any, Reports()), LeaseBoard(None, 1))
    child._engine = cast(Any, Engine())
    task = child.start_to_obey(cast(Any, Watch()))

    async def is_obeyed() -> bool:
        return child._hurry.is_set()

    await await_until(is_obeyed, why="the next frame is obeyed")
    task.cancel()
