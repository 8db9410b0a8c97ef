"""What the SQL servers of tests have in common: a temporary folder, databases with names of their own, and an end."""

from __future__ import annotations

import itertools
import shutil
import subprocess
import tempfile
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator
from pathlib import Path
from types import TracebackType
from typing import Self, TypeVar

from sqlalchemy import create_engine, text

S = TypeVar("S", bound="SqlServer")
_numbers = itertools.count()


class SqlServer(ABC):
    """A server in a temporary folder. It can be stopped and started again.

    Args:
        prefix: The beginning of the folder's name.
    """

    def __init__(self, prefix: str) -> None:
        self._folder = Path(tempfile.mkdtemp(prefix=prefix, dir="/tmp"))
        self._process: subprocess.Popen[bytes] | None = None

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.stop()
        shutil.rmtree(self._folder, ignore_errors=True)

    def stop(self) -> None:
        """End it at once, as a power cut would."""
        if self._process is not None:
            self._end(self._process)
            self._process.wait(20)
            self._process = None

    def database(self) -> str:
        """The URL of a new, empty database."""
        name = f"test{next(_numbers)}"
        engine = create_engine(self._administration, isolation_level="AUTOCOMMIT")
        with engine.connect() as connection:
            connection.execute(text(f"CREATE DATABASE {name}"))
        engine.dispose()
        return self._url(name)

    @property
    @abstractmethod
    def _administration(self) -> str:
        """The URL of the database that each such server has."""

    @abstractmethod
    def _url(self, database: str) -> str:
        """The URL of a database."""

    @abstractmethod
    def _end(self, process: subprocess.Popen[bytes]) -> None:
        """Signal the server to end at once."""


def served(make: Callable[[], S]) -> Iterator[S]:
    """A server for a fixture."""
    with make() as server:
        yield server
