"""The pytest plugin of jobfleet: the fixtures `jobs` and `jobfleet_url`.

The plugin imports jobfleet only when a test uses one of them.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterator
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from jobfleet.testing.jobs import Jobs

_numbers = itertools.count(1)


@pytest.fixture(scope="session")
def jobfleet_url() -> Iterator[str]:
    """The URL of the server for the tests: an embedded server, or fakeredis if no server is installed.

    Override this fixture to use another server; jobfleet does not empty it.
    """
    from jobfleet.errors import ConfigError
    from jobfleet.store.server.embedded import EmbeddedServer

    try:
        server = EmbeddedServer.start()
    except ConfigError:  # no server is installed
        yield "memory://jobfleet-tests"
        return
    yield server.url
    server.close()


@pytest.fixture
def jobs(jobfleet_url: str) -> Iterator[Jobs]:
    """The jobs that a test enqueues. Within the test, the default fleet is a new fleet in its own namespace."""
    import os

    from jobfleet.fleet.sync import Fleet
    from jobfleet.testing.jobs import Jobs

    with Fleet(jobfleet_url, namespace=f"test-{os.getpid()}-{next(_numbers)}") as fleet, Jobs(fleet).in_place() as made:
        yield made
