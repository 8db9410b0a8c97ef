"""The tests of operations run them through the awaited client, with the fixtures of the clients' tests.

The other client is generated from it, and drives the same operations; tests/client has tests of both.
"""

from __future__ import annotations

from tests.client.conftest import awaited as client
from tests.client.conftest import fleet, registry, work

__all__ = ["client", "fleet", "registry", "work"]
