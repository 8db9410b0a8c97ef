"""The servers of chaos runs: each can be harmed, and its append-only file read afterwards."""

from __future__ import annotations

import shutil
import subprocess
import tempfile
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path

from jobfleet.store.embedded import ServerProcess, find_server
from tests.support.chaos.aof import ARGUMENTS
from tests.support.cluster import ClusterServers
from tests.support.sentinel import SentinelServers
from tests.support.server import RedisServer
from tests.support.users import acl_file

DISK_MB = 12
USERS = ("--aclfile", str(acl_file()))
"""All nodes know the users of the roles, as on a server that is restarted."""
SILENCE_MS = 1500
"""Milliseconds of silence after which a primary counts as down. On a busy machine, less brings about more failovers."""


class Single(RedisServer):
    """One server with an append-only file.

    Args:
        fsync: When it flushes: `always` or `everysec`; empty for no file at all.
        environment: Further variables of its process.
        small_disk: Keep its data on a disk of a few MB.
    """

    def __init__(
        self, fsync: str = "always", *, environment: Mapping[str, str] | None = None, small_disk: bool = False
    ) -> None:
        self._environment = dict(environment or {})
        self.disk: Path | None = None
        arguments = (*USERS, *ARGUMENTS, "--appendfsync", fsync) if fsync else USERS
        if small_disk:
            self.disk = Path(tempfile.mkdtemp(prefix="jobfleet-disk-"))
            command = ["mount", "-t", "tmpfs", "-o", f"size={DISK_MB}m", "jobfleet-chaos", str(self.disk)]
            subprocess.run(command, check=True, capture_output=True)
            arguments = (*arguments, "--dir", str(self.disk))
        self.has_file = bool(fsync)
        super().__init__(*arguments, tcp=True)

    @property
    def data(self) -> Path:
        """The folder of its data."""
        return self.disk or self.folder

    @property
    def primary(self) -> RedisServer:
        """The server that has the data."""
        return self

    def owner(self, key: str) -> RedisServer:
        """The server that has a key."""
        return self

    @property
    def logs(self) -> list[Path]:
        """Where it writes its log."""
        return [self.folder / "server.log"]

    def stop(self) -> None:
        """End it and remove its files."""
        super().stop()
        if self.disk is not None:
            subprocess.run(["umount", str(self.disk)], check=False, capture_output=True)
            with suppress(OSError):
                shutil.rmtree(self.disk)

    def _launch(self) -> ServerProcess:
        if not self._environment:
            return super()._launch()
        log = self.folder / "server.log"
        variables = [f"{name}={value}" for name, value in self._environment.items()]
        command = ["/usr/bin/env", *variables, str(find_server().path), "--port", str(self.port), "--bind", "127.0.0.1"]
        command += ["--unixsocket", str(self.socket), "--dir", str(self.folder), "--save", "", *self._arguments]
        process = ServerProcess(command, log=log)
        process.wait_ready(self.socket, log=log)
        return process


class Group(SentinelServers):
    """A primary, two replicas and three Sentinels, each node with an append-only file."""

    has_file = True

    def __init__(self) -> None:
        super().__init__(*USERS, *ARGUMENTS, "--appendfsync", "everysec", down_after_ms=SILENCE_MS)
        self.await_whole()

    def owner(self, key: str) -> RedisServer:
        """The server that has a key."""
        return self.primary

    @property
    def data(self) -> Path:
        """The folder of the primary's data."""
        return self.primary.folder

    @property
    def logs(self) -> list[Path]:
        """Where nodes and Sentinels write their logs."""
        return [node.folder / "server.log" for node in self.nodes] + [one.log for one in self.sentinels]


class Grid(ClusterServers):
    """Three primaries with a replica each. Keys move between their files, so there is no trail."""

    has_file = False

    def __init__(self) -> None:
        super().__init__(*USERS, "--appendonly", "yes")
        self.await_whole()

    @property
    def primary(self) -> RedisServer:
        """The primary of the queue that has most jobs."""
        return self.owner("{jobfleet:default:0}:lease")

    @property
    def data(self) -> Path:
        """The folder of the primary's data."""
        return self.primary.folder

    @property
    def logs(self) -> list[Path]:
        """Where nodes write their logs."""
        return [node.folder / "server.log" for node in self.nodes]


AnyServer = Single | Group | Grid


def can_mount() -> bool:
    """Whether a small disk can be had here: it takes the right to mount."""
    folder = tempfile.mkdtemp(prefix="jobfleet-disk-")
    try:
        made = subprocess.run(
            ["mount", "-t", "tmpfs", "-o", "size=1m", "jobfleet-chaos", folder], check=False, capture_output=True
        )
        if made.returncode == 0:
            subprocess.run(["umount", folder], check=False, capture_output=True)
        return made.returncode == 0
    except OSError:
        return False
    finally:
        with suppress(OSError):
            Path(folder).rmdir()
