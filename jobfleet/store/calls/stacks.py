"""Calls for the stacks of a child: keep_stacks and stacks."""

from __future__ import annotations

from jobfleet.store.call import Call
from jobfleet.store.keys import Keyspace
from jobfleet.store.script import load

TTL_MS = 60_000
"""For how long the answer of a worker is stored."""
KIND = "stacks"


def keep_stacks(keys: Keyspace, nonce: str, answer: bytes) -> Call[None]:
    """Store the answer of a worker that was asked for the stacks of a child."""
    sealed = answer if keys.seals is None else keys.seals.value(answer, KIND, nonce)
    return Call(load("keep_stacks"), (keys.stacks(nonce),), (TTL_MS, sealed), lambda _: None)


def stacks(keys: Keyspace, nonce: str) -> Call[bytes]:
    """Return the answer of a worker; empty before there is one."""

    def opened(answer: bytes) -> bytes:
        return answer if keys.seals is None else keys.seals.open_value(answer, KIND, nonce)

    return Call(load("stacks"), (keys.stacks(nonce),), (), lambda reply: opened(bytes(reply[1])))
