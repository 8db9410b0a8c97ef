"""A cluster of six nodes for all tests of this folder in a process."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.support.cluster import ClusterServers


@pytest.fixture(scope="session")
def six() -> Iterator[ClusterServers]:
    with ClusterServers() as made:
        yield made


@pytest.fixture
def cluster(six: ClusterServers) -> ClusterServers:
    """The cluster, emptied."""
    six.flush()
    return six
