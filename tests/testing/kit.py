"""Jobs under the test kit: fleets in namespaces of their own on the server of the tests, and a function that pays."""

from __future__ import annotations

import itertools
import os
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from jobfleet import Fleet, JobContext
from jobfleet.functions.registry import Registry
from jobfleet.testing import Jobs

_numbers = itertools.count(1)


class Bank:
    """What a job pays through; it notes each payment."""

    def __init__(self) -> None:
        self.paid: list[tuple[int, str | None]] = []

    def charge(self, amount: int, key: str | None = None) -> int:
        """Take money."""
        self.paid.append((amount, key))
        return amount


def fresh(url: str, registry: Registry, **settings: Any) -> Jobs:
    """Jobs in a new namespace, not yet in place."""
    name = f"kit-{os.getpid()}-{next(_numbers)}"
    return Jobs(Fleet(url, name, registry=registry, **settings))


@contextmanager
def in_place(url: str, registry: Registry, **settings: Any) -> Iterator[Jobs]:
    """Jobs in a new namespace, as the fixture gives them to users."""
    jobs = fresh(url, registry, **settings)
    with jobs.fleet, jobs.in_place():
        yield jobs


def paying(registry: Registry, bank: Bank, *, with_key: bool = False) -> None:
    """Register ``shop.pay``, which charges in a step and then notes that it has shipped."""

    def pay(ctx: JobContext, amount: int) -> int:
        key = ctx.job_id if with_key else None
        return ctx.step_sync("charge", bank.charge, amount, key)

    registry.register(pay, name="shop.pay", queue="shop")
