"""Runs that a service has refused, with a limit that nobody knows."""

from __future__ import annotations

import logging

import pytest

from jobfleet import Job, RateLimited
from jobfleet.functions.registry import Registry
from tests.support.server import RedisServer
from tests.testing.kit import in_place


async def refused(limit: str) -> None:
    raise RateLimited(300, limit=limit)


def test_a_limit_that_is_neither_named_nor_defined_is_reported_once(
    server: RedisServer, registry: Registry, caplog: pytest.LogCaptureFixture
) -> None:
    registry.register(refused, name="t.refused", queue="q", limits=["github"])
    with in_place(server.url, registry) as jobs, caplog.at_level(logging.WARNING):
        for name in ("github", "other"):
            jobs.fleet.limits.named(name, rate="100/1m")
        for limit in ("other", "githb", "githb"):  # one that is defined may be that of other functions
            jobs.fleet.enqueue(Job("job", "t.refused", (limit,)))
        jobs.drain()

    (line,) = [one for one in caplog.messages if one.startswith("limit.unknown")]
    assert line == (
        "limit.unknown limit=githb function=t.refused raises RateLimited with it, but does not name it in its limits, "
        "and it is not defined; did it mean 'github'?"
    )
