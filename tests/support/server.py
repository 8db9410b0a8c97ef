"""Real servers for tests: on a Unix socket or a free port of loopback, ended with the tests' process."""

from __future__ import annotations

import os
import shutil
import signal
import socket
import sys
import tempfile
from contextlib import suppress
from itertools import count
from pathlib import Path
from typing import Self, cast

import redis

from jobfleet.store.embedded import ServerProcess, find_server
from jobfleet.store.target import driver
from tests.support.certificates import Certificates
from tests.support.waiting import wait_until

FIRST_PORT, PORTS_OF_EACH, PARTS = 12_000, 2_000, 10
_ports = count(os.getpid() * 17)


class RedisServer:
    """A server of its own, in a temporary folder.

    Args:
        arguments: Further arguments of the server, as `"--appendonly", "yes"`.
        tcp: Listen on a free port of loopback too, and let `url` name that.
        tls: Speak TLS there, with these certificates.

    Attributes:
        folder: Where it keeps its files, until `stop`.
        socket: Its Unix socket.
        port: Its port; 0 without `tcp`.
        direct: Its own address.
        url: Where users connect; another address than its own when a Sentinel or TLS stands before it.
    """

    def __init__(self, *arguments: str, tcp: bool = False, tls: Certificates | None = None) -> None:
        self.folder = Path(tempfile.mkdtemp(prefix="jobfleet-test-"))
        self.socket = self.folder / "server.sock"
        self.port = free_port() if tcp else 0
        self.direct = f"redis://127.0.0.1:{self.port}/0" if tcp and tls is None else f"unix://{self.socket}"
        self.url = self.direct if tls is None else f"rediss://127.0.0.1:{self.port}/0"
        self._arguments = (*arguments, *(tls.arguments if tls is not None else ()))
        self._ports = ("--port", str(self.port)) if tls is None else ("--port", "0", "--tls-port", str(self.port))
        self._clients: list[redis.Redis] = []
        self._process = self._launch()

    @property
    def pid(self) -> int:
        """The process of the server; another one after `restart`."""
        return self._process.pid

    @property
    def is_running(self) -> bool:
        """Whether the process of the server lives."""
        return is_running(self._process.pid)

    def client(self) -> redis.Redis:
        """Connect a plain client: RESP2, bytes. It is closed when the server stops."""
        client = redis.Redis.from_url(self.direct, protocol=2, decode_responses=False, **driver())
        self._clients.append(client)
        return client

    @property
    def role(self) -> str:
        """What it says it is: `master` or `slave`; empty while it cuts its clients off, as with each change of role."""
        with redis.Redis.from_url(self.direct, protocol=2, **driver()) as client, suppress(redis.ConnectionError):
            return cast(list[bytes], client.role())[0].decode()
        return ""

    def flush(self) -> None:
        """Delete everything: keys, scripts and functions; through a plain socket, because nearly each test does it."""
        commands = ("FLUSHALL", "SCRIPT FLUSH", "FUNCTION FLUSH")
        with socket.socket(socket.AF_UNIX) as connection, connection.makefile("rb") as replies:
            connection.connect(str(self.socket))
            connection.sendall("".join(f"{command}\r\n" for command in commands).encode())
            assert [replies.readline() for _ in commands] == [b"+OK\r\n"] * len(commands)

    def restart(self) -> None:
        """End the server if it runs, and start it with the same files and address."""
        self._process.send(signal.SIGCONT)
        self._process.end()
        self._process = self._launch()

    def kill(self) -> None:
        """Kill the server outright (SIGKILL) and wait until it is gone; its files stay."""
        self._process.send(signal.SIGKILL)
        self._process.ended.wait()

    def pause(self) -> None:
        """Freeze the server (SIGSTOP): connections stay open, nobody answers."""
        self._process.send(signal.SIGSTOP)
        wait_until(lambda: state_of(self.pid) in {"T", "Z", ""}, why="the server is frozen")

    def resume(self) -> None:
        """Let a frozen server go on."""
        self._process.send(signal.SIGCONT)

    def stop(self) -> None:
        """End the server, close its clients and remove its files. Calling twice is harmless."""
        for client in self._clients:
            client.close()
        self._process.send(signal.SIGCONT)
        self._process.end()
        shutil.rmtree(self.folder, ignore_errors=True)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.stop()

    def _launch(self) -> ServerProcess:
        log = self.folder / "server.log"
        command = [str(find_server().path), *self._ports, "--bind", "127.0.0.1"]
        command += ["--unixsocket", str(self.socket), "--dir", str(self.folder), "--save", "", *self._arguments]
        process = ServerProcess(command, log=log)
        process.wait_ready(self.socket, log=log)
        return process


class ClusterNode(RedisServer):
    """A cluster of one node, which serves all slots."""

    def __init__(self, *arguments: str) -> None:
        cluster = ("--cluster-enabled", "yes", "--cluster-port", str(free_port()))
        super().__init__(*cluster, "--cluster-announce-ip", "127.0.0.1", *arguments, tcp=True)
        self.cluster_url = f"cluster://127.0.0.1:{self.port}"

    def _launch(self) -> ServerProcess:
        process = super()._launch()
        with redis.Redis(port=self.port, protocol=2, decode_responses=True) as client:
            if self._info(client)["cluster_slots_assigned"] == "0":
                client.cluster("ADDSLOTSRANGE", 0, 16383)
            wait_until(lambda: self._info(client)["cluster_state"] == "ok", why="the cluster is ok")
        return process

    @staticmethod
    def _info(client: redis.Redis) -> dict[str, str]:
        return cast(dict[str, str], client.cluster("INFO"))


def free_port() -> int:
    """Find a port of loopback nobody listens on.

    It lies below those from which the system takes the ports of connections, and in a part of them that belongs to this
    process of tests, so that nobody takes it until a server listens there.
    """
    while True:
        port = FIRST_PORT + _part() * PORTS_OF_EACH + next(_ports) % PORTS_OF_EACH
        with socket.socket() as probe, suppress(OSError):
            probe.bind(("127.0.0.1", port))
            return port


def _part() -> int:
    """The number of this process among those that run tests; what tests start has the last part."""
    name = os.environ.get("PYTEST_XDIST_WORKER", "")
    is_test = "PYTEST_CURRENT_TEST" in os.environ and "pytest" in sys.modules
    return int(name.removeprefix("gw")) % (PARTS - 1) if name and is_test else PARTS - 1


def state_of(pid: int) -> str:
    """Return the state letter of a process on Linux (`T` stopped, `Z` dead but not reaped), empty when it is gone."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]
    except (FileNotFoundError, ProcessLookupError):
        return ""


def is_running(pid: int) -> bool:
    """Tell whether a process lives."""
    return state_of(pid) not in {"", "Z", "X"}
