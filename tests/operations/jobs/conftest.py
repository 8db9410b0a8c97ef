"""A worker that a test plays itself, as in the tests of commands."""

from __future__ import annotations

from tests.cli.conftest import as_role, hand

__all__ = ["as_role", "hand"]
