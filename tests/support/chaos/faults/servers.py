"""Faults of the server: it dies, freezes, forgets, is full, fails over, and its clock jumps."""

from __future__ import annotations

import functools
import time
from contextlib import suppress
from pathlib import Path

import redis

from jobfleet.store.embedded import ServerProcess
from tests.support.chaos import aof
from tests.support.chaos.fault import fault
from tests.support.chaos.faults.clock import MovableClock
from tests.support.chaos.faults.processes import no_clock
from tests.support.chaos.servers import Single, can_mount
from tests.support.chaos.stage import LEASE, Stage

AHEAD = 120


def _single(stage: Stage) -> Single:
    if not isinstance(stage.server, Single):
        raise TypeError("this fault needs a single server")
    return stage.server


@fault("kill-redis", "SIGKILL to Redis with appendfsync always, and a restart", times=3)
def kill_redis(stage: Stage) -> None:
    """Kill it, and start it again after a while."""
    server = _single(stage)
    server.kill()
    stage.pause(0.0, 2.0)
    server.restart()


@fault("kill-redis-everysec", "the same with appendfsync everysec", server=functools.partial(Single, "everysec"))
def kill_redis_everysec(stage: Stage) -> None:
    """Kill it, and start it again after a while."""
    kill_redis(stage)


@fault("restart-redis", "SIGTERM to Redis, and a restart")
def restart_redis(stage: Stage) -> None:
    """Restart it."""
    _single(stage).restart()


@fault("freeze-redis", "SIGSTOP to Redis for up to a lease")
def freeze_redis(stage: Stage) -> None:
    """Freeze it."""
    server = _single(stage)
    server.pause()
    stage.mend_at_end(server.resume)
    stage.pause(0.5, LEASE)
    server.resume()


@fault("freeze-redis-long", "SIGSTOP to Redis for twice a lease", times=1)
def freeze_redis_long(stage: Stage) -> None:
    """Freeze it for longer than any lease."""
    server = _single(stage)
    server.pause()
    stage.mend_at_end(server.resume)
    stage.is_over.wait(LEASE * 2)
    server.resume()


@fault("aof-loss", "Redis dies, and the last tenth of its append-only file is lost, as in a power failure", times=1)
def aof_loss(stage: Stage) -> None:
    """Cut the file while the server is dead."""
    server = _single(stage)
    server.kill()
    since = aof.cut_tail(server.data, 0.1)
    server.restart()
    stage.windows.append([since - 1, time.time() + 0.5])


@fault("data-loss", "Redis without persistence dies: all data are lost", times=1, server=functools.partial(Single, ""))
def data_loss(stage: Stage) -> None:
    """Kill a server that keeps nothing."""
    server = _single(stage)
    server.kill()
    server.restart()
    stage.windows.append([0.0, time.time() + 0.5])


@fault("script-flush", "SCRIPT FLUSH, again and again", times=20)
def script_flush(stage: Stage) -> None:
    """Forget all scripts."""
    stage.raw().script_flush()


@fault("client-kill", "CLIENT KILL of all connections", times=6)
def client_kill(stage: Stage) -> None:
    """End every connection, those of listeners too."""
    for kind in ("normal", "pubsub"):
        stage.raw().client_kill_filter(_type=kind, skipme=True)


@fault("client-pause", "CLIENT PAUSE ALL for 3 s", times=2)
def client_pause(stage: Stage) -> None:
    """Let all clients wait."""
    stage.raw().client_pause(3000, all=True)
    stage.is_over.wait(3)


@fault("few-connections", "maxclients is lowered and all connections end: most clients are refused for 3 s", times=2)
def few_connections(stage: Stage) -> None:
    """Let a storm of connections be refused."""
    own = redis.Redis.from_url(stage.server.url, single_connection_client=True)

    def mend() -> None:
        own.config_set("maxclients", 1000)

    own.config_set("maxclients", 6)
    stage.mend_at_end(mend)
    own.client_kill_filter(_type="normal", skipme=True)
    stage.is_over.wait(3)
    mend()


@fault("memory-full", "maxmemory is reached with noeviction for 4 s", times=1)
def memory_full(stage: Stage) -> None:
    """Leave no memory."""
    raw = stage.raw()

    def mend() -> None:
        raw.config_set("maxmemory", 0)

    raw.config_set("maxmemory", 1024 * 1024)
    stage.mend_at_end(mend)
    stage.is_over.wait(4)
    mend()


def _no_disk() -> str:
    return "" if can_mount() else "a small disk is a tmpfs, which takes the right to mount"


@fault("disk-full", "the disk of the append-only file is full for 4 s", times=1, why_not=_no_disk,
       server=functools.partial(Single, "everysec", small_disk=True))  # fmt: skip
def disk_full(stage: Stage) -> None:
    """Fill it, and delete what fills it."""
    filler = _single(stage).data / "filler"
    with suppress(OSError), filler.open("wb", buffering=0) as out:
        while True:
            out.write(b"\0" * 65536)
    stage.mend_at_end(lambda: filler.unlink(missing_ok=True))
    stage.is_over.wait(4)
    filler.unlink(missing_ok=True)


class ShiftedServer(Single):
    """A server whose clock can be moved."""

    clock: MovableClock

    def __init__(self) -> None:
        super().__init__("always")

    def _launch(self) -> ServerProcess:
        if not self._environment:
            self.clock = MovableClock(Path(self.folder), "redis")
            self._environment = self.clock.environment
        return super()._launch()


def _jump(stage: Stage, seconds: int) -> None:
    server = _single(stage)
    if not isinstance(server, ShiftedServer):
        raise TypeError("this fault needs a server whose clock can be moved")
    stage.facts["clock"] = True
    server.clock.move(seconds)


@fault("clock-ahead", "Redis's clock jumps two minutes ahead", server=ShiftedServer, times=1, why_not=no_clock)
def clock_ahead(stage: Stage) -> None:
    """Move it ahead."""
    _jump(stage, AHEAD)


@fault("clock-back", "Redis's clock jumps ten seconds back", server=ShiftedServer, times=1, why_not=no_clock)
def clock_back(stage: Stage) -> None:
    """Move it back."""
    _jump(stage, -10)
