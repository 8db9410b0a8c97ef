"""The pytest plugin that comes with jobfleet: the fixtures `jobs` and `jobfleet_url`.

Nothing of jobfleet is imported until a test asks for one of them.
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
    """The server of the tests: one of their own, else fakeredis. Override it to take another, which is not emptied."""
    from jobfleet.errors import ConfigError
    from jobfleet.store.embedded import EmbeddedServer

    try:
        server = EmbeddedServer.start()
    except ConfigError:  # no server is installed
        yield "memory://jobfleet-tests"
        return
    yield server.url
    server.close()


@pytest.fixture
def jobs(jobfleet_url: str) -> Iterator[Jobs]:
    """The jobs that a test enqueues, on a fleet of its own that stands in for the default one."""
    import os

    from jobfleet.fleet.sync import Fleet
    from jobfleet.testing.jobs import Jobs

    with Fleet(jobfleet_url, namespace=f"test-{os.getpid()}-{next(_numbers)}") as fleet, Jobs(fleet).in_place() as made:
        yield made
