"""Bugs to plant into a simulation: those of `scripts/chaos --mutants`, and some that need a rare order of events.

Most change the text of a script, as the server gets it. The others replace a function while a plan runs.
"""

from __future__ import annotations

import asyncio
import random
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack, contextmanager
from typing import Any, NamedTuple
from unittest import mock

from jobfleet.operations.explain import explain
from jobfleet.operations.explain.waiting import not_due
from jobfleet.operations.fleet_context import FleetContext
from jobfleet.services.duties.relay import Unblocker
from jobfleet.store import call as barrier
from jobfleet.store import trip
from jobfleet.store.keys import Lane
from jobfleet.store.script import load, names
from tests.support.chaos.planted import MUTANTS, NotPlanted

LOST_WAKE_UP = "lost-wake-up"
SIGNAL = "local known = redis.call('HGET', KEYS[5], has_token and own or field)\n"
REAPED = "if tonumber(redis.call('ZSCORE', keys.lease, item.id) or '0') > now then return 'a' end"
OVERDUE = "ids = redis.call('ZRANGEBYSCORE', KEYS[3], '-inf', stamp, 'LIMIT', 0, limit)"


class Edit(NamedTuple):
    """A change of the text of scripts.

    Attributes:
        script: The script; empty for all that have the text.
        old: What is replaced.
        new: What replaces it.
    """

    script: str
    old: str
    new: str


class Bug(NamedTuple):
    """A planted bug.

    Attributes:
        name: What it is called on the command line.
        does: What is wrong.
        edits: Changes of scripts.
        patches: Changes of this process.
    """

    name: str
    does: str
    edits: tuple[Edit, ...] = ()
    patches: tuple[Callable[[], Any], ...] = ()

    def scripts(self) -> dict[str, str]:
        """The texts of the scripts that are changed.

        Raises:
            NotPlanted: The source has changed: mend the bug.
        """
        found: dict[str, str] = {}
        for edit in self.edits:
            planted = False
            for name in [edit.script] if edit.script else names():
                text = found.get(name) or load(name).plain.decode()
                if edit.old in text:
                    found[name], planted = text.replace(edit.old, edit.new), True
            if not planted:
                raise NotPlanted(f"{edit.script or 'no script'} has not the text {edit.old!r}")
        return found

    @contextmanager
    def planted(self) -> Iterator[Mapping[str, str]]:
        """Change this process within the block; yield the texts of the changed scripts."""
        with ExitStack() as stack:
            for patch in self.patches:
                stack.enter_context(patch())
            yield self.scripts()


def _renamed() -> Any:
    """A request whose reply was lost is repeated under another id."""
    judged = trip._judged

    def wrong(call: Any, reply: Any, detours: Any) -> Any:
        verdict = judged(call, reply, detours)
        if not isinstance(verdict, trip.Again) or not verdict.away or not call.script.name.startswith("enqueue"):
            return verdict
        old = next(key for key in call.keys if ":job:" in key)[-6:]
        new = f"{random.getrandbits(24):06x}"

        def swap(part: Any) -> Any:
            return part.replace(old, new) if isinstance(part, str) else part

        return verdict._replace(
            call=call._replace(keys=tuple(map(swap, call.keys)), args=tuple(map(swap, call.args)))
        )  # fmt: skip

    return mock.patch.object(trip, "_judged", wrong)


def _unconfirmed() -> Any:
    """A confirmation of no replica counts as one."""
    stack = ExitStack()
    stack.enter_context(mock.patch.object(barrier, "_is_at_least", return_value=True))
    stack.enter_context(mock.patch.object(FleetContext, "can_confirm", return_value=True))
    return stack


def _forgetful() -> Any:
    """The wake-up of issue 11: a request that finds the task of its lane after the task's last look is forgotten."""

    def begin(self: Any, lane: Lane) -> None:
        if lane not in self._tasks:
            task = self._tasks[lane] = asyncio.get_running_loop().create_task(self._tell(lane))
            task.add_done_callback(lambda _: self._tasks.pop(lane, None))

    async def tell(self: Any, lane: Lane) -> None:
        is_over = False
        while not is_over:
            self._asked.pop(lane, None)
            await self._relay.relay(lane)
            self._on_unblocked()
            is_over = lane not in self._asked

    stack = ExitStack()
    stack.enter_context(mock.patch.object(Unblocker, "_begin", begin))
    stack.enter_context(mock.patch.object(Unblocker, "_tell", tell))
    return stack


def _silent() -> Any:
    """`explain` does not look at the time at which a job is due."""
    return mock.patch.object(explain, "WAITING", tuple(one for one in explain.WAITING if one is not not_due))


def _silent_child() -> Any:
    """A child notifies no dependants; a tick or a reaper does within a second."""
    return mock.patch.object(Unblocker, "tell", return_value=None)


def _of_chaos() -> Iterator[Bug]:
    """The mutants of `scripts/chaos`."""
    in_python = {"retry-renamed": (_renamed,), "wait-ignored": (_unconfirmed,)}
    for key, mutant in MUTANTS.items():
        edits = []
        for edit in mutant.edits:
            if edit.file.endswith(".lua"):
                name = "" if "/lib/" in edit.file else edit.file.rpartition("/")[2].removesuffix(".lua")
                edits.append(Edit(name, edit.old, edit.new))
        yield Bug(key, mutant.name, tuple(edits), in_python.get(key, ()))


_OWN = (
    Bug(LOST_WAKE_UP, "the lost wake-up of issue 11: dependants wait until another process looks", (), (_forgetful,)),
    Bug(
        "settle-tokenless", "a retry or a failure is not checked against the token",
        (Edit("settle", "if not run or string.sub(run, 1, #token + 1) ~= token .. '|' then", "if not run then"),),
    ),
    Bug(
        "lease-early", "a lease is reaped up to three seconds before its end",
        (
            Edit("tick", OVERDUE, OVERDUE.replace("stamp", "int(now + 3000000)")),
            Edit("settle", REAPED, REAPED.replace("> now ", "> now + 3000000 ")),
        ),
    ),
    Bug(
        "late-request", "a request is executed after its deadline",
        (Edit("", "return tonumber(deadline) < now_us()", "return false"),),
    ),
    Bug(
        "limit-token-lost", "a run that fails does not give its place within a named limit back",
        (
            Edit(
                "leave_gates", "local was_inside = redis.call('ZREM', gate.runs_key, run.holder) == 1",
                "local was_inside = run.outcome ~= 'fail' and redis.call('ZREM', gate.runs_key, run.holder) == 1",
            ),
        ),
    ),
    Bug(
        "sequence-overtakes", "a job of a sequence starts though its head waits for its retry",
        (Edit("", "local n, is_head = #added, not state.has_head", "local n, is_head = #added, true"),),
    ),
    Bug(
        "trip-forever", "the record of a child's last settlement never ends",
        (Edit("settle", "chunk .. ' ' .. letters, 'PX', 600000)", "chunk .. ' ' .. letters)"),),
    ),
    Bug("news-left", "a child leaves it to others to notify the dependants of what it has ended", (), (_silent_child,)),
    Bug("explain-silent", "`explain` has no reason for a job that is due later", (), (_silent,)),
    Bug(
        "wake-forgotten", "a job that is enqueued wakes no child, which a tick mends within a second",
        (
            Edit("enqueue_plain", "  redis.call('ZADD', KEYS[2], 0, 'w')\n", ""),
            Edit("enqueue", "if due_now and not conf[1] then redis.call('ZADD', KEYS[5], 0, 'w') end", ""),
        ),
    ),
    Bug(
        "signal-twice", "a second signal of a name replaces the first one",
        (Edit("signal", SIGNAL, SIGNAL + "known = nil\n"),),
    ),
)  # fmt: skip

BUGS: dict[str, Bug] = {bug.name: bug for bug in (*_of_chaos(), *_OWN)}
