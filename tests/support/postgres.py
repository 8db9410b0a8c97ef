"""A real PostgreSQL for tests: a cluster in a temporary folder, on a Unix socket, that ends with its parent."""

from __future__ import annotations

import itertools
import os
import pwd
import shutil
import signal
import subprocess
import tempfile
from collections.abc import Iterator
from pathlib import Path
from types import TracebackType
from typing import Self

import pytest
from sqlalchemy import create_engine, text

from tests.support.waiting import wait_until

_numbers = itertools.count()


class NotInstalled(Exception):
    """There is no PostgreSQL on this machine, and scripts/tools could not install it."""


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


class Postgres:
    """A cluster. It can be stopped and started again.

    Args:
        settings: Of the server, as ``name=value``.

    Raises:
        NotInstalled: There is no PostgreSQL.
    """

    def __init__(self, *settings: str) -> None:
        self._settings = settings
        self._bin = programs()
        self._folder = Path(tempfile.mkdtemp(prefix="jobfleet-pg-", dir="/tmp"))
        self._data = self._folder / "data"
        self._user = _user()
        if self._user is not None:
            os.chown(self._folder, self._user.pw_uid, self._user.pw_gid)
        self._run("initdb", "-D", str(self._data), "-U", "jobfleet", "--auth=trust", "--no-sync", "-E", "UTF8")
        self._process: subprocess.Popen[bytes] | None = None
        self.start()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.stop()
        shutil.rmtree(self._folder, ignore_errors=True)

    def start(self) -> None:
        """Serve."""
        places = ("listen_addresses=", f"unix_socket_directories={self._folder}")
        settings = [part for setting in (*places, *self._settings) for part in ("-c", setting)]
        with (self._folder / "log").open("ab") as log:
            command = [*self._as_user("--pdeathsig", "QUIT"), str(self._bin / "postgres"), "-D", str(self._data)]
            self._process = subprocess.Popen([*command, *settings], stdout=log, stderr=log, cwd="/")
        ready = [str(self._bin / "pg_isready"), "-h", str(self._folder), "-q"]
        wait_until(lambda: subprocess.run(ready, check=False).returncode == 0, why="PostgreSQL takes connections")

    def stop(self) -> None:
        """End it at once, as a power cut would."""
        if self._process is not None:
            self._process.send_signal(signal.SIGQUIT)
            self._process.wait(20)
            self._process = None

    def database(self) -> str:
        """The URL of a new, empty database."""
        name = f"test{next(_numbers)}"
        engine = create_engine(self._url("postgres", "+psycopg"), isolation_level="AUTOCOMMIT")
        with engine.connect() as connection:
            connection.execute(text(f"CREATE DATABASE {name}"))
        engine.dispose()
        return self._url(name)

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
    """A cluster for a fixture; where there can be none, what asks for it is skipped."""
    try:
        cluster = Postgres("fsync=off")
    except NotInstalled as reason:
        pytest.skip(str(reason))
    with cluster:
        yield cluster
