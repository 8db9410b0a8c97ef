"""A real PostgreSQL for tests: a cluster in a temporary folder, on a Unix socket, that ends with its parent."""

from __future__ import annotations

import os
import pwd
import shutil
import signal
import subprocess
from collections.abc import Iterator
from pathlib import Path

from tests.support.sql_server import SqlServer, served
from tests.support.tools import NotInstalled
from tests.support.waiting import wait_until


def programs() -> Path:
    """The folder of PostgreSQL's programs.

    Raises:
        NotInstalled: There is none.
    """
    for folder in sorted(Path("/usr/lib/postgresql").glob("*/bin"), reverse=True):
        if (folder / "postgres").exists():
            return folder
    found = shutil.which("postgres")
    if found is None:
        raise NotInstalled("PostgreSQL is not installed, and scripts/tools could not install it here")
    return Path(found).resolve().parent


class Postgres(SqlServer):
    """A cluster. It can be stopped and started again.

    Args:
        settings: Of the server, as ``name=value``.

    Raises:
        NotInstalled: There is no PostgreSQL.
    """

    def __init__(self, *settings: str) -> None:
        self._settings = settings
        self._bin = programs()
        super().__init__("jobfleet-pg-")
        self._data = self._folder / "data"
        self._user = _user()
        if self._user is not None:
            os.chown(self._folder, self._user.pw_uid, self._user.pw_gid)
        self._run("initdb", "-D", str(self._data), "-U", "jobfleet", "--auth=trust", "--no-sync", "-E", "UTF8")
        self.start()

    def start(self, *, waits: bool = True) -> None:
        """Serve. Returns when it takes connections, unless `waits` is false."""
        places = ("listen_addresses=", f"unix_socket_directories={self._folder}")
        settings = [part for setting in (*places, *self._settings) for part in ("-c", setting)]
        with (self._folder / "log").open("ab") as log:
            command = [*self._as_user("--pdeathsig", "QUIT"), str(self._bin / "postgres"), "-D", str(self._data)]
            self._process = subprocess.Popen([*command, *settings], stdout=log, stderr=log, cwd="/")
        if not waits:
            return
        ready = [str(self._bin / "pg_isready"), "-h", str(self._folder), "-q"]
        wait_until(lambda: subprocess.run(ready, check=False).returncode == 0, why="PostgreSQL takes connections")

    def _end(self, process: subprocess.Popen[bytes]) -> None:
        process.send_signal(signal.SIGQUIT)

    @property
    def pid(self) -> int:
        """The process of the server; 0 if it was stopped."""
        return self._process.pid if self._process is not None else 0

    @property
    def is_running(self) -> bool:
        """Whether the server lives."""
        return self._process is not None and self._process.poll() is None

    def restart(self) -> None:
        """Start the server again after it was killed; its sessions notice that it is gone, and end first."""
        assert not self.is_running, "it was not killed"
        wait_until(self._is_startable, timeout=60, why="the sessions of the killed server have ended")

    def _is_startable(self) -> bool:
        self.start(waits=False)
        ready = [str(self._bin / "pg_isready"), "-h", str(self._folder), "-q"]
        wait_until(
            lambda: not self.is_running or subprocess.run(ready, check=False).returncode == 0,
            why="PostgreSQL takes connections or ends",
        )
        return self.is_running

    @property
    def _administration(self) -> str:
        return self._url("postgres", "+psycopg")

    def _url(self, database: str, driver: str = "") -> str:
        return f"postgresql{driver}://jobfleet@/{database}?host={self._folder}"

    def _run(self, program: str, *arguments: str) -> None:
        command = [*self._as_user(), str(self._bin / program), *arguments]
        subprocess.run(command, check=True, capture_output=True, cwd="/")

    def _as_user(self, *options: str) -> list[str]:
        """PostgreSQL refuses to run as root."""
        if self._user is None:
            return ["setpriv", *options] if options else []
        who = [f"--reuid={self._user.pw_uid}", f"--regid={self._user.pw_gid}", "--clear-groups"]
        return ["setpriv", *who, *options]


def _user() -> pwd.struct_passwd | None:
    if os.geteuid() != 0:
        return None
    try:
        return pwd.getpwnam("postgres")
    except KeyError:
        return pwd.getpwnam("nobody")


def serving() -> Iterator[Postgres]:
    """A cluster for a fixture."""
    yield from served(lambda: Postgres("fsync=off"))
