"""The jobs of `talkers`, in a program with an error tracker: a handler of the root logger that writes to a file."""

from __future__ import annotations

import logging
import os
from pathlib import Path

from tests.e2e.apps import talkers  # noqa: F401 - its jobs


class Tracker(logging.Handler):
    """Writes a line per error with an exception."""

    def emit(self, record: logging.LogRecord) -> None:
        """Write the class of the exception and the message."""
        if record.exc_info and record.exc_info[0] is not None:
            with (Path(os.environ["JOBFLEET_TEST_FOLDER"]) / "tracked").open("a") as file:
                kind = record.exc_info[0].__name__
                file.write(f"{record.levelname} {record.name} {kind} {record.getMessage().splitlines()[0]}\n")


logging.basicConfig(level=logging.WARNING)
logging.getLogger().addHandler(Tracker(logging.ERROR))
