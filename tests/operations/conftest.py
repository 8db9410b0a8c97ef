"""The tests of operations run them through the clients, with the fixtures of the clients' tests."""

from __future__ import annotations

from tests.client.conftest import client, fleet, registry, work

__all__ = ["client", "fleet", "registry", "work"]
