"""A worker that a test plays itself, as in the tests of commands."""

from __future__ import annotations

from tests.cli.conftest import hand

__all__ = ["hand"]
