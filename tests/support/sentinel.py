"""A Sentinel group for tests: a primary, two replicas and three Sentinels, on free ports of loopback."""

from __future__ import annotations

import shutil
import signal
import tempfile
from datetime import datetime
from functools import partial
from pathlib import Path
from typing import Any, Self

import redis

from jobfleet.store.embedded import ServerProcess, find_server
from tests.support.certificates import Certificates
from tests.support.server import RedisServer, free_port
from tests.support.waiting import wait_until

SERVICE = "jobs"
DOWN_AFTER_MS = 500
STAY_MS = 60_000
"""For tests without a failover: a loaded machine must not bring one about."""
NEEDS = 20.0
STEPS_OF_A_FAILOVER = ("+try-failover", "+promoted-slave", "+switch-master", "+convert-to-slave")


class SentinelServer:
    """One Sentinel.

    Args:
        primary: The port of the primary.
        quorum: How many Sentinels must agree that the primary is down.
        lines: Further lines of its configuration.
        down_after_ms: Milliseconds of silence after which the primary counts as down.
        tls: Speak TLS, with these certificates.

    Attributes:
        port: Where it listens.
        log: The file of its log.
    """

    def __init__(
        self, primary: int, quorum: int, lines: tuple[str, ...], down_after_ms: int, tls: Certificates | None
    ) -> None:
        self.port = free_port()
        self._folder = Path(tempfile.mkdtemp(prefix="jobfleet-sentinel-"))
        names = ("sentinel.conf", "server.sock", "server.log")
        file, self._socket, self.log = (self._folder / name for name in names)
        ports = [f"port {self.port}"] if tls is None else ["port 0", f"tls-port {self.port}", *tls.lines]
        settings = [
            *ports,
            "bind 127.0.0.1",
            f"unixsocket {self._socket}",
            f"dir {self._folder}",
            f"sentinel monitor {SERVICE} 127.0.0.1 {primary} {quorum}",
            f"sentinel down-after-milliseconds {SERVICE} {down_after_ms}",
            f"sentinel failover-timeout {SERVICE} 3000",
            *lines,
        ]
        file.write_text("\n".join(settings) + "\n")
        self.process = ServerProcess([str(find_server().path), str(file), "--sentinel"], log=self.log)
        self.process.wait_ready(self._socket, log=self.log)

    def asked(self, *command: str, password: str | None = None) -> Any:
        """Send a command, and return the reply."""
        path = str(self._socket)
        with redis.Redis(unix_socket_path=path, protocol=2, decode_responses=True, password=password) as client:
            return client.execute_command(*command)

    def failovers(self) -> list[int]:
        """When it noted a step of a failover in its log, in µs: also of one that only a busy machine has caused."""
        lines = (line.split() for line in self.log.read_text().splitlines())
        times = [" ".join(words[1:5]) for words in lines if set(words) & set(STEPS_OF_A_FAILOVER)]
        local = (datetime.strptime(time, "%d %b %Y %H:%M:%S.%f").astimezone() for time in times)
        return [round(at.timestamp() * 1_000_000) for at in local]

    def stop(self) -> None:
        """End it, and remove its files."""
        self.process.send(signal.SIGCONT)
        self.process.end()
        shutil.rmtree(self._folder, ignore_errors=True)


class SentinelServers:
    """The group.

    Args:
        arguments: Further arguments of the primary and the replicas.
        lines: Further lines of the configuration of the Sentinels.
        down_after_ms: Milliseconds of silence after which the primary counts as down.
        tls: All speak TLS, with these certificates.

    Attributes:
        nodes: The primary first, then the replicas, as they were at the beginning.
        sentinels: The Sentinels.
        url: Where to connect.
    """

    def __init__(
        self,
        *arguments: str,
        lines: tuple[str, ...] = (),
        down_after_ms: int = DOWN_AFTER_MS,
        tls: Certificates | None = None,
    ) -> None:
        self.nodes: list[RedisServer] = []
        self.sentinels: list[SentinelServer] = []
        try:
            primary = RedisServer(*arguments, tcp=True, tls=tls)
            self.nodes.append(primary)
            for _ in range(2):
                link = ("--replicaof", "127.0.0.1", str(primary.port))
                whole = (*arguments, *link, "--repl-diskless-sync-delay", "0")
                self.nodes.append(RedisServer(*whole, tcp=True, tls=tls))
            raw = primary.client()
            wait_until(partial(self._is_replicated, raw), timeout=NEEDS, why="the replicas are up to date")
            raw.close()
            self.sentinels += [SentinelServer(primary.port, 2, lines, down_after_ms, tls) for _ in range(3)]
        except BaseException:
            self.stop()
            raise
        hosts = ",".join(f"127.0.0.1:{sentinel.port}" for sentinel in self.sentinels)
        self.url = f"sentinel{'s' * (tls is not None)}://{hosts}/{SERVICE}"

    @staticmethod
    def _is_replicated(primary: redis.Redis) -> bool:
        info: Any = primary.info("replication")
        return bool(sum(info.get(f"slave{index}", {}).get("state") == "online" for index in range(2)) == 2)

    def await_whole(self) -> Self:
        """Wait until each Sentinel knows the replicas and the other Sentinels, so that a failover can succeed."""
        for sentinel in self.sentinels:
            wait_until(partial(self._is_whole, sentinel), timeout=NEEDS, why="the Sentinels know the group")
        return self

    @staticmethod
    def _is_whole(sentinel: SentinelServer) -> bool:
        words = sentinel.asked("SENTINEL", "MASTER", SERVICE)
        found: dict[str, str] = dict(zip(words[::2], words[1::2], strict=True))
        return (found["num-slaves"], found["num-other-sentinels"], found["flags"]) == ("2", "2", "master")

    @property
    def primary(self) -> RedisServer:
        """The node that the Sentinels name as the primary."""
        _, port = self.sentinels[0].asked("SENTINEL", "GET-MASTER-ADDR-BY-NAME", SERVICE)
        return next(node for node in self.nodes if node.port == int(port))

    def await_other_primary(self, before: RedisServer) -> RedisServer:
        """Wait until another node is the primary and says so itself; return it."""
        wait_until(lambda: self.primary is not before, timeout=NEEDS, why="the Sentinels name another primary")
        found = self.primary
        wait_until(lambda: found.role == "master", timeout=NEEDS, why="it is the primary")
        return found

    def stop(self) -> None:
        """End all servers and remove their files."""
        for sentinel in self.sentinels:
            sentinel.stop()
        for node in self.nodes:
            node.stop()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.stop()
