"""Fleets with keys, and a worker that ends when nothing is left to do."""

from __future__ import annotations

import base64
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from typing import Any

import pytest

from jobfleet import Fleet, JobContext
from jobfleet.config.keyring import ACCEPTED, PRIMARY, Key, Keyring
from jobfleet.functions.registry import Registry

OLD, NEW = bytes(range(32)), bytes(range(32, 64))
FleetWith = Callable[..., Fleet]


def spelled(**secrets: bytes) -> str:
    """Keys as a text for the setting `keyring`; the first is the primary one."""
    return "keys:" + ",".join(f"{kid}={base64.b64encode(secret).decode()}" for kid, secret in secrets.items())


def ring(**secrets: bytes) -> Keyring:
    """A keyring whose first key is the primary one."""
    return Keyring(
        tuple(
            Key(kid, secret, state=ACCEPTED if place else PRIMARY)
            for place, (kid, secret) in enumerate(secrets.items())
        )
    )


def add(x: int, y: int) -> int:
    return x + y


def total(ctx: JobContext) -> int:
    return sum(int(parent.result or 0) for parent in ctx.parents.values())


def talk(ctx: JobContext) -> None:
    ctx.emit_sync("yes")
    ctx.emit_sync("no")


@pytest.fixture
def ran() -> list[Any]:
    """What `app.note` was called with."""
    return []


@pytest.fixture
def registry(ran: list[Any]) -> Registry:
    registry = Registry()
    registry.register(add, name="app.add")
    registry.register(total, name="app.total")
    registry.register(talk, name="app.talk")
    registry.register(ran.append, name="app.note")
    return registry


@pytest.fixture
def fleet_with(redis_url: str, registry: Registry) -> Iterator[FleetWith]:
    """Makes clients of one fleet with settings of their own."""
    with ExitStack() as stack:

        def make(**settings: Any) -> Fleet:
            settings = {"registry": registry, "patience": 5, "retry_delay": 0.01, **settings}
            return stack.enter_context(Fleet(redis_url, **settings))

        yield make


@pytest.fixture
def signed(fleet_with: FleetWith) -> Fleet:
    """A fleet that signs, and accepts nothing else."""
    return fleet_with(keyring=spelled(old=OLD), sign="require")
