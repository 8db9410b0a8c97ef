"""What the views of a dashboard read from: an `AsyncFleet`, the JSON form, and the shared reads."""

from __future__ import annotations

import asyncio
import copy
import logging
from collections.abc import AsyncGenerator
from contextlib import suppress
from dataclasses import replace
from typing import Any

from jobfleet.client.json_form import JsonForm
from jobfleet.config import JobConfig, mask_url
from jobfleet.errors import JobfleetError
from jobfleet.fleet.aio import AsyncFleet, closing_with_loop
from jobfleet.fleet.sync import Fleet
from jobfleet.metrics.outage import Outage
from jobfleet.metrics.tally import tally_for
from jobfleet.secret import Redaction
from jobfleet.web.live import Hub
from jobfleet.web.safety.guard import CODES, Refusals
from jobfleet.web.safety.identity import Identify, Identity

PATIENCE, CONNECT_TIMEOUT, SOCKET_TIMEOUT = 1.0, 1.0, 2.0
"""Time limits of the reads of a page, in seconds: a person waits for it."""
DOCTOR_FOR = 10.0
"""Seconds for which all pages share one checkup of the doctor."""
LOOK_EVERY = 1.0
"""Seconds between two attempts to reach Redis while it is away."""
MEANWHILE = "No page has data until Redis replies"
_log = logging.getLogger("jobfleet.web")


class Dashboard:
    """What the views of a dashboard read from.

    Args:
        fleet: The fleet that is shown.
        identify: The login of the host application, if it has one.
    """

    def __init__(self, fleet: Fleet | AsyncFleet, identify: Identify | None = None) -> None:
        self._given = fleet
        self._fleet: AsyncFleet | None = None
        self._loop: asyncio.AbstractEventLoop | None = None
        self._end: AsyncGenerator[None, None] | None = None
        self.config: JobConfig = fleet.config
        self.form: JsonForm = JsonForm(Redaction(fleet.config.redact))
        self.identity: Identity = Identity(fleet.config, identify)
        self.hub: Hub = Hub(fleet.config.web_streams, lambda: self.identity.changes)
        self._refusals = Refusals()
        self._outage = Outage(
            mask_url(fleet.config.url), _log, tally_for(None), meanwhile=lambda: MEANWHILE, on_loss=self._watch_return
        )
        self._return_watch: asyncio.Task[None] | None = None
        self._reading: Dashboard | None = None

    @property
    def fleet(self) -> AsyncFleet:
        """The client of the running loop; the loop closes it before it ends."""
        loop = asyncio.get_running_loop()
        if self._fleet is None or self._loop is not loop:
            config = replace(
                self.config,
                buffer=0,
                patience=min(PATIENCE, self.config.patience),
                connect_timeout=min(CONNECT_TIMEOUT, self.config.connect_timeout),
                socket_timeout=min(SOCKET_TIMEOUT, self.config.socket_timeout),
                durability_timeout=None,
            )
            target = self._given.store.at if self.config.url == self._given.config.url else None
            brief = Fleet.of(config, self._given.context.registry, target=target)
            self._fleet, self._loop = AsyncFleet.sharing(brief), loop
            self._fleet.context.source = "web"
            self._fleet.store.recorder = self._outage
            self._end = closing_with_loop(self._fleet)
        return self._fleet

    def _watch_return(self) -> None:
        """Notice the return of Redis even if no page is open."""
        if self._return_watch is None or self._return_watch.done():
            self._return_watch = asyncio.create_task(self._until_back(), name="jobfleet-web-return")

    async def _until_back(self) -> None:
        while not self._outage.is_connected:
            await asyncio.sleep(LOOK_EVERY)
            with suppress(JobfleetError):  # the recorder of the store counts it
                await self.fleet.queues()

    @property
    def reading(self) -> Dashboard:
        """The dashboard that pages read from: with the Redis user of `web_viewer_url`, if that is set."""
        url = self.config.web_viewer_url
        if url is None:
            return self
        if self._reading is None:
            self._reading = copy.copy(self)
            self._reading.config = replace(self.config, url=url, web_viewer_url=None)
            self._reading._fleet = self._reading._reading = None  # noqa: SLF001 - it is one of the same class
        return self._reading

    async def refused(self, name: str, address: str, action: str, target: str, code: str) -> None:
        """Record a refusal in the audit; few of them, and none while Redis is away. The log has every one.

        Args:
            name: Who has sent the request; empty if that is not known.
            address: The address that it came from.
            action: What was asked for.
            target: To what.
            code: The code of the refusal.
        """
        if code in CODES and (count := self._refusals.count(name, address)):
            with suppress(JobfleetError):
                by = name or f"nobody@{address}"
                await self.fleet.record_refusal(action, target, by=by, why=code, count=count)

    async def aclose(self) -> None:
        """End all live updates and the connections."""
        self.hub.close()
        if self._return_watch is not None:
            self._return_watch.cancel()
        fleet, self._fleet = self._fleet, None
        if fleet is not None:
            await fleet.aclose()
        reading, self._reading = self._reading, None
        if reading is not None and reading is not self:
            await reading.aclose()

    async def diagnosis(self) -> dict[str, Any]:
        """What the doctor reports; all pages share one checkup."""

        async def read() -> dict[str, Any]:
            return self.form.diagnosis(await self.fleet.doctor())

        return await self.hub.once("doctor", read, fresh_for=DOCTOR_FOR)
