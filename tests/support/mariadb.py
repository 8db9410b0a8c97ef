"""A real MariaDB for tests: a server in a temporary folder, on a Unix socket, that ends with its parent."""

from __future__ import annotations

import os
import pwd
import socket
import subprocess
from collections.abc import Iterator
from pathlib import Path

from tests.support.sql_server import SqlServer, served
from tests.support.tools import NotInstalled
from tests.support.waiting import wait_until

TOOLS = Path(__file__).parents[2] / ".venv" / "tools"


class MariaDb(SqlServer):
    """A server without passwords. It can be stopped and started again.

    Raises:
        NotInstalled: There is no MariaDB.
    """

    def __init__(self) -> None:
        self._program = TOOLS / "bin" / "mariadbd"
        if not self._program.exists():
            raise NotInstalled("MariaDB is not in .venv/tools, and scripts/tools could not get it here")
        super().__init__("jobfleet-my-")
        self._socket = self._folder / "socket"
        self._options = [
            f"--datadir={self._folder / 'data'}",
            "--innodb-flush-log-at-trx-commit=0",
            "--innodb-log-file-size=8M",
            "--innodb-buffer-pool-size=32M",
            "--performance-schema=off",
            "--innodb-use-native-aio=0",  # its rings count against the locked memory that a user may have
            *(["--user=" + pwd.getpwuid(os.geteuid()).pw_name] if os.geteuid() == 0 else []),
        ]
        (self._folder / "data").mkdir()
        share = TOOLS / "usr" / "share" / "mariadb"
        scripts = [
            (share / name).read_text() for name in ("mariadb_system_tables.sql", "mariadb_system_tables_data.sql")
        ]
        made = "\n".join(["CREATE DATABASE mysql;", "USE mysql;", *scripts])
        command = [str(self._program), *self._options, "--bootstrap"]
        done = subprocess.run(command, input=made.encode(), capture_output=True, check=False)
        if done.returncode:
            raise RuntimeError(f"MariaDB could not make its tables:\n{done.stderr.decode()}")
        self.start()

    def start(self) -> None:
        """Serve."""
        places = [f"--socket={self._socket}", "--skip-networking", "--skip-grant-tables"]
        with (self._folder / "log").open("ab") as log:
            command = ["setpriv", "--pdeathsig", "KILL", str(self._program), *self._options, *places]
            self._process = subprocess.Popen(command, stdout=log, stderr=log)
        wait_until(self._answers, why="MariaDB takes connections")

    def _answers(self) -> bool:
        with socket.socket(socket.AF_UNIX) as probe:  # the driver leaves sockets open that do not connect
            return probe.connect_ex(str(self._socket)) == 0

    def _end(self, process: subprocess.Popen[bytes]) -> None:
        process.kill()

    @property
    def _administration(self) -> str:
        return self._url("mysql")

    def _url(self, database: str) -> str:
        return f"mysql+pymysql://root@localhost/{database}?unix_socket={self._socket}"


def serving() -> Iterator[MariaDb]:
    """A server for a fixture."""
    yield from served(MariaDb)
