"""Answers the question of an operator for the stacks of one child."""

from __future__ import annotations

import logging
from collections.abc import Iterable

from jobfleet.clock import boottime
from jobfleet.codec import encode
from jobfleet.errors import JobfleetError
from jobfleet.store.aio import AsyncStore
from jobfleet.store.calls.presence import keep_stacks
from jobfleet.store.keys import Keyspace
from jobfleet.store.target import Target
from jobfleet.worker.ipc.protocol import bounded
from jobfleet.worker.supervisor.child_handle import ChildHandle

log = logging.getLogger("jobfleet.worker")
PATIENCE = 5.0
"""Seconds for which the answer is tried to be stored."""
WRITES_WITHIN = 1.5
"""Seconds that a child has to write its stacks itself."""
NAMED_MOST = 50
NATIVE = "Native code holds the interpreter, so only the threads are known; the innermost frame is the first."


async def answer(at: Target, keys: Keyspace, children: Iterable[ChildHandle], nonce: str, number: int) -> None:
    """Store the stacks of a child for the operator who has asked for them.

    Args:
        at: The server.
        keys: The fleet's keys.
        children: The children of the worker.
        nonce: The nonce of the question.
        number: The number at the end of the child's id.
    """
    handle = next((one for one in children if one.child.rpartition(".")[2] == str(number)), None)
    text, refusal = ("", "There is no such child.") if handle is None else await _shown(handle)
    record = encode({"pid": 0 if handle is None else handle.pid, "text": text, "refusal": refusal})
    store = AsyncStore(at, patience=PATIENCE, needs_primary=True)
    try:
        await store.run(keep_stacks(keys, nonce, record))
    except JobfleetError as error:
        log.error("child.stacks cannot be sent: %s", error)
    finally:
        await store.close()


async def _shown(handle: ChildHandle) -> tuple[str, str]:
    """The stacks of a child, or why there are none."""
    if handle.stopped_at is not None:
        return "", "It is frozen by a signal (SIGSTOP), so that it cannot answer."
    if not handle.has_reported:
        return "", "It has just been started; ask again."
    head = _head(handle)
    stacks = await handle.stacks_with_jobs(WRITES_WITHIN)
    if not stacks:
        written = await handle.stacks()
        stacks = f"{NATIVE}\n\n{written}" if written else ""
    if not stacks:
        return "", "It did not answer, or has ended meanwhile."
    return bounded([head, "", *stacks.splitlines()]), ""


def _head(handle: ChildHandle) -> str:
    """What the supervisor knows: how long the event loop is blocked, and the jobs, which may run in other processes."""
    held = handle.posted()
    jobs = ", ".join(f"{one.id} ({one.phase.name.lower()})" for one in held[:NAMED_MOST]) or "no job"
    more = f" and {len(held) - NAMED_MOST:,} more" if len(held) > NAMED_MOST else ""
    turned = handle.turned_at
    loop = f"Its event loop turned {max(0.0, boottime() - turned):.1f} s ago. " if turned else ""
    return f"Child {handle.child}, pid {handle.pid}. {loop}It holds {jobs}{more}."
