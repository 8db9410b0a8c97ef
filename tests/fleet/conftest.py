"""The functions of the clients' tests."""

from tests.client.conftest import registry

__all__ = ["registry"]
