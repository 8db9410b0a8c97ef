"""The reaper: all duties in one process. Any number of reapers may run at once."""

from __future__ import annotations

import asyncio
import logging
import os
import select
import signal
import socket
import subprocess
import sys
import threading
from collections.abc import Callable, Sequence
from functools import partial
from uuid import uuid4

import msgpack

from jobfleet.clock import monotonic
from jobfleet.config import JobConfig
from jobfleet.errors import EXIT_OK, EXIT_UNREACHABLE, EXIT_USAGE, JobfleetError, exit_fast
from jobfleet.metrics.outage import Outage
from jobfleet.metrics.tally import Tally, tally_for
from jobfleet.notify.registry import Channels
from jobfleet.services.duties.cron import Cron
from jobfleet.services.duties.dead import Dead, Rescues
from jobfleet.services.duties.leases import Leases
from jobfleet.services.duties.notify import Notify, channels_of
from jobfleet.services.duties.relay import Relay
from jobfleet.services.duties.retention import Retention
from jobfleet.services.duties.samples import Samples
from jobfleet.services.long_lived import held_back, ignore, start
from jobfleet.services.modules import load_modules
from jobfleet.services.service import Service
from jobfleet.store.aio import AsyncStore
from jobfleet.store.calls import inspect
from jobfleet.store.keys import Keyspace
from jobfleet.store.target import target_of

log = logging.getLogger("jobfleet.reaper")
AFTER_DEATH, LONGEST_PAUSE = 0.5, 30.0
"""Seconds before a dead hosted reaper is replaced; doubled while replacements die early."""
STEADY = 10.0
"""Seconds of uptime after which a death does not lengthen the pause."""
TERMINAL = (signal.SIGINT, signal.SIGQUIT)
"""Signals that a terminal sends to all processes in its foreground group."""
MEANWHILE = "No recurring job fires and no expired lease is reaped until Redis replies"


def main(modules: Sequence[str], config: JobConfig) -> int:
    """Run a reaper in this process until it is stopped; return its exit code.

    Args:
        modules: Modules to import first; they may add notification channels.
        config: The settings.

    Raises:
        StoreUnavailable: Redis was not available at the start.
        ConfigError: The metrics port is in use, a module cannot be imported, or a channel is not valid.
    """
    from jobfleet.logs import set_up_logs

    set_up_logs(config)
    load_modules(modules, str(config.app_dir))
    return asyncio.run(_run(config, parent=None))


async def _run(config: JobConfig, parent: int | None, reports: int | None = None) -> int:
    channels = channels_of(config)
    at = target_of(config)
    store = AsyncStore(
        at,
        patience=config.patience,
        connect_timeout=config.connect_timeout,
        socket_timeout=config.socket_timeout,
        needs_primary=True,
    )
    keys, tally = Keyspace.of(config), tally_for(config.metrics_port)
    if keys.seals is not None:
        tally.count_keys(keys.seals.sealer.counted)
    outage = Outage(at.shown, log, tally, meanwhile=lambda: MEANWHILE)
    if parent is None:
        await store.run(inspect.fleet(keys, most=0))  # a reaper that is started by hand fails at once if Redis is down
        store.recorder = outage
    elif tally.is_on:
        store.recorder = tally  # the hosting worker logs and counts outages
    store.patience = None
    duties = _duties(store, keys, config, tally, channels)
    endpoint = reporting = None
    if config.metrics_port is not None and parent is None:
        from jobfleet.services.endpoint import MetricsEndpoint

        endpoint = MetricsEndpoint(config.metrics_port, config, store, duties, tally, outage)
    elif reports is not None:
        from jobfleet.services.endpoint import report_on

        reporting = start(partial(report_on, reports, duties, tally), log, "reports")
    over = asyncio.Event()
    loop = asyncio.get_running_loop()
    # Installed even if the process began with INT and QUIT ignored, as in a background job of a script.
    for number in (signal.SIGTERM, *(TERMINAL if parent is None else ())):
        loop.add_signal_handler(number, over.set)
    if parent is not None:
        loop.add_reader(parent, over.set)  # end of file means that the process that started this reaper is gone
    for duty in duties:
        duty.start()
    names = [duty.name for duty in duties]
    shown = f"Reaper runs with the duties {', '.join(names)}."
    log.info("reaper.started duties=%s url=%s", ",".join(names), at.shown, extra={"_shown": shown})
    looking = start(partial(store.keep_looking, config.beat, is_logged=parent is None), log, "address")
    await over.wait()
    looking.cancel()
    if endpoint is not None:
        endpoint.close()
    if reporting is not None:
        reporting.cancel()
    for duty in duties:
        await duty.stop()
    await store.close()
    at.close()
    log.info("reaper.stopped", extra={"_shown": "Reaper has stopped."})
    return EXIT_OK


def _duties(store: AsyncStore, keys: Keyspace, config: JobConfig, tally: Tally, channels: Channels) -> list[Service]:
    """Return the duties of a reaper with these settings."""
    duties: list[Service] = [
        Leases(store, keys, config, tally),
        Cron(store, config, tally, process=f"{socket.gethostname()}:{os.getpid()}:{uuid4().hex[:6]}"),
        Relay(store, keys, config, tally),
        Retention(store, keys, config, tally),
        Dead(store, keys, config, tally),
        Rescues(store, keys, config, tally),
    ]
    if config.samples:
        duties.append(
            Samples(store, keys, config, tally, process=f"{socket.gethostname()}:{os.getpid()}:{uuid4().hex[:6]}")
        )
    if config.pod_costs and "KUBERNETES_SERVICE_HOST" in os.environ:
        from jobfleet.services.duties.pod_costs import (
            Kubernetes,
            PodCosts,  # for those in a cluster
        )

        if (kubernetes := Kubernetes.here()) is not None:
            duties.append(PodCosts(store, config, tally, kubernetes))
    if config.archive_url is not None:
        from jobfleet.services.duties.archive import Archive

        duties.append(Archive(store, keys, config, tally))
    if config.outbox_url is not None:
        from jobfleet.services.duties.outbox import Outbox

        duties.append(Outbox(store, config, tally))
    if channels.rules:
        duties.append(
            Notify(store, keys, config, tally, channels, consumer=f"{socket.gethostname()}-{uuid4().hex[:12]}")
        )
    return duties


class HostedReaper:
    """A reaper in a child process of a worker. It ends when its pipe is closed, and is replaced when it dies.

    Args:
        modules: The worker's modules; they may add notification channels.
        config: The settings.
        url: The URL of the resolved server.
    """

    def __init__(self, modules: Sequence[str], config: JobConfig, url: str) -> None:
        self._modules, self._config, self._url = list(modules), config, url
        self._hear: Callable[[object], None] = lambda _: None
        self._is_closing = threading.Event()
        self._lock = threading.Lock()
        self._start()
        self._watch = threading.Thread(target=self._follow, name="jobfleet-hosted-reaper", daemon=True)
        self._watch.start()

    def tell(self, hear: Callable[[object], None]) -> None:
        """Pass each report of the reaper to a callback, every second, from another thread; see `read_report`."""
        self._hear = hear

    def _listen(self, pipe: int) -> None:
        reports = msgpack.Unpacker()
        with open(pipe, "rb", buffering=0) as heard:
            while piece := heard.read(65_536):
                reports.feed(piece)
                for report in reports:
                    self._hear(report)

    def _follow(self) -> None:
        pause = AFTER_DEATH
        while not self._is_closing.is_set():
            began = monotonic()
            code = self._process.wait()
            pause = AFTER_DEATH if monotonic() - began > STEADY else min(2 * pause, LONGEST_PAUSE)
            if self._is_closing.wait(pause):
                return
            with self._lock:
                if self._is_closing.is_set():
                    return
                log.error("reaper.died %s; it is replaced", _how_it_ended(code))
                os.close(self._pipe)
                self._start()

    def _start(self) -> None:
        theirs, self._pipe = os.pipe()
        given = [theirs]
        if self._config.metrics_port is not None:
            heard, reports = os.pipe()
            given.append(reports)
            threading.Thread(target=self._listen, args=(heard,), name="jobfleet-reaper-reports", daemon=True).start()
        command = [sys.executable, "-m", "jobfleet.services.main", *map(str, given)]
        with held_back(TERMINAL):
            self._process = subprocess.Popen(command, pass_fds=given, stdin=subprocess.PIPE)
        for descriptor in given:
            os.close(descriptor)
        assert self._process.stdin is not None  # noqa: S101 - asked for above
        self._process.stdin.write(msgpack.packb([self._modules, self._config.plain(url=self._url)]))
        self._process.stdin.close()

    def close(self) -> None:
        """Stop the reaper."""
        with self._lock:
            self._is_closing.set()
            os.close(self._pipe)
        self._process.terminate()  # while it loads modules, it does not look at its pipe
        try:
            self._process.wait(5)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()


def _how_it_ended(code: int) -> str:
    """Describe the ending of a hosted reaper by its exit code."""
    if code < 0:
        return f"killed by {signal.Signals(-code).name}"
    why = {
        EXIT_USAGE: " (its modules cannot be imported; the worker's children log the reason)",
        EXIT_UNREACHABLE: " (it printed the reason)",
    }
    return f"exit code {code}{why.get(code, '')}"


def hosted_reaper(modules: Sequence[str], config: JobConfig, url: str) -> HostedReaper:
    """Start a reaper as a child process of a worker.

    Raises:
        ConfigError: A notification channel of the settings is not valid.
    """
    channels_of(config)
    return HostedReaper(modules, config, url)


def _be_hosted() -> int:
    ignore(TERMINAL)  # a terminal sends these to the whole group, but the hosting worker stops this reaper
    from jobfleet.logs import set_up_logs

    modules, settings = msgpack.unpackb(sys.stdin.buffer.read())
    config = JobConfig(**settings)
    set_up_logs(config, shows_day=False)
    try:
        load_modules(modules, str(config.app_dir))
    except Exception as error:  # noqa: BLE001 - the worker's children import the same modules and log the details
        log.debug("reaper.refused %s: %s", type(error).__name__, error)
        return EXIT_USAGE
    pipe, *reports = map(int, sys.argv[1:])
    if select.select([pipe], (), (), 0)[0]:  # the hosting worker is gone already
        return EXIT_OK
    try:
        return asyncio.run(_run(config, pipe, *reports))
    except JobfleetError as error:
        print(error, file=sys.stderr)  # noqa: T201 - the one line with the reason
        return EXIT_UNREACHABLE


if __name__ == "__main__":
    exit_fast()
    sys.exit(_be_hosted())
