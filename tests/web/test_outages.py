"""What the log of a dashboard has about its server."""

from __future__ import annotations

import logging
import re

import pytest

from jobfleet import Fleet, StoreUnavailable
from jobfleet.functions.registry import Registry
from jobfleet.web.dashboard import Dashboard
from tests.support.server import RedisServer
from tests.support.waiting import await_until


async def test_the_log_has_the_loss_and_the_return_of_redis_though_no_page_is_open(
    caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("jobfleet.web.dashboard.LOOK_EVERY", 0.02)
    caplog.set_level(logging.INFO, "jobfleet.web")

    async def is_back() -> bool:
        return "redis.back" in caplog.text

    with RedisServer() as server, Fleet(server.url, registry=Registry()) as fleet:
        dashboard = Dashboard(fleet)
        await dashboard.fleet.queues()
        server.kill()
        while "redis.lost" not in caplog.text:  # a page asks again; on a busy machine one read may be too brief
            with pytest.raises(StoreUnavailable):
                await dashboard.fleet.queues()
        server.restart()
        await await_until(is_back, why="the dashboard notices the return by itself")
        await dashboard.aclose()

    lines = [re.sub(r"(url|reason|after)=\S+", r"\1=…", one.getMessage()) for one in caplog.records]
    lost, back = (line for line in lines if line.startswith("redis."))
    assert lost.startswith("redis.lost url=… ")
    assert lost.endswith(". No page has data until Redis replies")
    assert back == "redis.back url=… after=…"
