"""A server that refuses a command is reported with its reason, and not as absent."""

from __future__ import annotations

import threading
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest
import redis

from tests.cli.hand import Shell
from tests.support.server import RedisServer
from tests.support.waiting import wait_until

Fault = Callable[[redis.Redis, Path], None]


def full_disk(client: redis.Redis, folder: Path) -> None:
    """The server cannot write its dump, as on a full disk."""
    client.config_set("save", "3600 1")
    (folder / "dump.rdb" / "in its way").mkdir(parents=True)

    def is_broken() -> bool:
        client.bgsave()
        wait_until(lambda: not client.info("persistence")["rdb_bgsave_in_progress"], why="the snapshot has ended")
        return bool(client.info("persistence")["rdb_last_bgsave_status"] == "err")

    wait_until(is_broken, why="a snapshot has failed")


def full_memory(client: redis.Redis, _folder: Path) -> None:
    client.config_set("maxmemory", "1mb")


def read_only(client: redis.Redis, _folder: Path) -> None:
    client.replicaof("127.0.0.1", "1")


def locked(client: redis.Redis, _folder: Path) -> None:
    client.config_set("requirepass", "hunter2")


@pytest.mark.parametrize(
    ("fault", "code", "line"),
    [
        (full_disk, 4, "Redis at {url} refuses: it cannot save to its disk (MISCONF). Free space on its disk, or look"),
        (full_memory, 1, "Redis refuses: its memory is full (OOM). Nothing was enqueued; raise maxmemory, or"),
        (read_only, 4, "Redis at {url} refuses: it is a read-only replica, not the primary (READONLY). Set --url"),
        (locked, 2, "Redis refuses: Authentication required (NOAUTH). Check user and password in --url"),
    ],
    ids=["disk", "memory", "replica", "password"],
)
def test_enqueue_reports_why_redis_refuses(
    own_server: RedisServer, shell: Shell, fault: Fault, code: int, line: str
) -> None:
    fault(own_server.client(), own_server.folder)

    result = shell("enqueue", "demo.add", "1", environ={"JOBFLEET_URL": own_server.url})

    own_server.kill()  # with a full disk it would refuse to stop, and be waited for
    assert result.returncode == code, result.stderr
    assert result.stderr.splitlines()[-1].startswith(line.format(url=own_server.url))


def test_a_server_that_loads_its_data_is_reported_as_such(shell: Shell) -> None:
    with RedisServer("--enable-debug-command", "yes", "--loading-process-events-interval-bytes", "1024") as server:
        client = server.client()
        client.mset({f"key{number}": "x" * 64 for number in range(20_000)})
        client.config_set("key-load-delay", 5_000)
        patient = redis.Redis.from_url(server.url, socket_timeout=None)
        execute: Any = patient.execute_command
        reload = threading.Thread(target=lambda: execute("DEBUG", "RELOAD"))
        reload.start()
        wait_until(lambda: _is_loading(client), why="the server loads its data")

        result = shell("jobs", environ={"JOBFLEET_URL": server.url})

        client.config_set("key-load-delay", 0)
        reload.join()
        patient.close()

    assert (result.returncode, result.stderr) == (
        4,
        f"Redis at {server.url} refuses: it is loading its data (LOADING). Try again when it has.\n",
    )


def _is_loading(client: redis.Redis) -> bool:
    with suppress(redis.exceptions.BusyLoadingError):
        client.dbsize()
        return False
    return True
