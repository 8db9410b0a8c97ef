"""The reaper: all duties in one process. Any number of reapers may run at once."""

from __future__ import annotations

import asyncio
import logging
import os
import signal
import subprocess
import sys
import threading
from collections.abc import Sequence

import msgpack

from jobfleet.config import JobConfig
from jobfleet.errors import JobfleetError
from jobfleet.metrics.tally import Tally
from jobfleet.services.cron import Cron
from jobfleet.services.leases import Leases
from jobfleet.services.relay import Relay
from jobfleet.services.retention import Retention
from jobfleet.services.service import Service
from jobfleet.store.aio import AsyncStore
from jobfleet.store.calls import inspect
from jobfleet.store.connect import target
from jobfleet.store.keys import Keyspace

log = logging.getLogger("jobfleet.reaper")
AFTER_DEATH = 1.0


def main(modules: Sequence[str], config: JobConfig) -> int:  # noqa: ARG001 - rules that load modules come with notify
    """Run a reaper in this process until it is told to stop; answer its exit code.

    Raises:
        StoreUnavailable: Redis was not there at the start.
        ConfigError: The metrics port is taken.
    """
    from jobfleet.logs import set_up_logs

    set_up_logs(config)
    return asyncio.run(_run(config, parent=None))


async def _run(config: JobConfig, parent: int | None) -> int:
    at = target(config.url)
    store = AsyncStore(
        at, patience=config.patience, connect_timeout=config.connect_timeout, socket_timeout=config.socket_timeout
    )
    keys, tally = Keyspace(config.namespace), Tally()
    if parent is None:
        await store.run(inspect.fleet(keys))  # whoever starts a reaper by hand hears at once that Redis is away
    store.patience = None
    duties: list[Service] = [
        Leases(store, keys, config, tally),
        Cron(store, config, tally),
        Relay(store, keys, config, tally),
        Retention(store, keys, config, tally),
    ]
    server = None
    if config.metrics_port is not None and parent is None:
        from jobfleet.metrics.exporter import Exporter
        from jobfleet.metrics.server import MetricsServer
        from jobfleet.services.gauges import Gauges

        exporter = Exporter()
        server = MetricsServer(exporter, config.metrics_port)
        log.info("metrics.serving port=%d", server.port)
        duties.append(Gauges(store, config, exporter, tally))
    over = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, over.set)
    if parent is not None:
        loop.add_reader(parent, over.set)  # its end means that whoever started this reaper is gone
    for duty in duties:
        duty.start()
    log.info("reaper.started duties=%s url=%s", ",".join(duty.name for duty in duties), at.shown)
    await over.wait()
    for duty in duties:
        await duty.stop()
    await store.close()
    if server is not None:
        server.close()
    at.close()
    log.info("reaper.stopped")
    return 0


class HostedReaper:
    """A reaper in a child process of a worker; it ends when its pipe does, and one that dies is followed by another.

    Args:
        config: The settings.
        url: The server, already found.
    """

    def __init__(self, config: JobConfig, url: str) -> None:
        self._config, self._url = config, url
        self._is_closing = threading.Event()
        self._lock = threading.Lock()
        self._start()
        self._watch = threading.Thread(target=self._follow, name="jobfleet-hosted-reaper", daemon=True)
        self._watch.start()

    def _follow(self) -> None:
        while not self._is_closing.is_set():
            self._process.wait()
            if self._is_closing.wait(AFTER_DEATH):
                return
            with self._lock:
                if self._is_closing.is_set():
                    return
                log.error("reaper.died a new one is started")
                os.close(self._pipe)
                self._start()

    def _start(self) -> None:
        theirs, self._pipe = os.pipe()
        self._process = subprocess.Popen(
            [sys.executable, "-m", "jobfleet.services.main", str(theirs)], pass_fds=(theirs,), stdin=subprocess.PIPE
        )
        os.close(theirs)
        assert self._process.stdin is not None  # noqa: S101 - asked for above
        self._process.stdin.write(msgpack.packb(self._config.plain(url=self._url)))
        self._process.stdin.close()

    def close(self) -> None:
        """End it."""
        with self._lock:
            self._is_closing.set()
            os.close(self._pipe)
        try:
            self._process.wait(5)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()


def hosted_reaper(modules: Sequence[str], config: JobConfig, url: str) -> HostedReaper:  # noqa: ARG001 - as above
    """Start a reaper beside a worker."""
    return HostedReaper(config, url)


def _be_hosted() -> int:
    from jobfleet.logs import set_up_logs

    settings = msgpack.unpackb(sys.stdin.buffer.read())
    config = JobConfig(**settings)
    set_up_logs(config)
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    try:
        return asyncio.run(_run(config, parent=int(sys.argv[1])))
    except JobfleetError as error:
        print(error, file=sys.stderr)  # noqa: T201 - the one line that says why
        return 4


if __name__ == "__main__":
    sys.exit(_be_hosted())
