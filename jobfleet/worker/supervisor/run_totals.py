"""The counts of a worker's runs since its start, reported with its heartbeats; see `jobfleet.samples.report`."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any, Protocol

import msgpack

MOST_ROWS = 500
"""Pairs of a queue and a function; further functions of a queue are counted together, and so are further queues."""
OTHER = "other"


class Source(Protocol):
    """Counts runs."""

    def take(self) -> Iterable[Sequence[Any]]:
        """Return what is new since the last call: rows of queue, function and a point."""


class RunTotals:
    """The counts of a worker since its start: the sum of what its children report.

    Args:
        source: What it asks for new rows; None if `add` is called with them.
    """

    def __init__(self, source: Source | None = None) -> None:
        self._source = source
        self._rows: dict[tuple[str, str], dict[int, Any]] = {}
        self._is_new = False

    def add(self, rows: Iterable[Sequence[Any]]) -> None:
        """Add rows of queue, function and a point. What cannot be read is left out."""
        for row in rows:
            match row:
                case [str(queue), str(function), dict(more)]:
                    self._add((queue, function), more)
                case _:
                    pass

    def _add(self, name: tuple[str, str], more: dict[int, Any]) -> None:
        if name not in self._rows and len(self._rows) >= MOST_ROWS:
            name = (name[0], OTHER) if len(self._rows) < 2 * MOST_ROWS else (OTHER, OTHER)
        row = self._rows.setdefault(name, {})
        for field, value in more.items():
            if isinstance(value, dict):
                spread = row.setdefault(field, {})
                for bucket, count in value.items():
                    spread[bucket] = spread.get(bucket, 0) + count
            else:
                row[field] = row.get(field, 0) + value
        self._is_new = True

    def news(self, first: int) -> bytes | None:
        """Return the encoded report if it has changed since the last one was `sent`, else None.

        Args:
            first: See `Report.first`.
        """
        if self._source is not None:
            self.add(self._source.take())
        if not self._is_new:
            return None
        encoded: bytes = msgpack.packb([first, [[*name, row] for name, row in self._rows.items()]])
        return encoded

    def sent(self, *, is_sent: bool = True) -> None:
        """Note that the last report has arrived, or that it has not."""
        self._is_new = not is_sent
