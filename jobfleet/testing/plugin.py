"""The pytest plugin of jobfleet: the fixtures `jobs` and `jobfleet_url`, and the marker `jobfleet_crashes`.

The plugin imports jobfleet only when a test uses one of them.
"""

from __future__ import annotations

import inspect
import itertools
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

import pytest

if TYPE_CHECKING:
    from jobfleet.testing.jobs import Jobs

MARKER = "jobfleet_crashes(seed=0, most=50): run the test under each kill point of its jobs, which must be idempotent"
_numbers = itertools.count(1)


def pytest_configure(config: pytest.Config) -> None:
    """Register the marker, and let pytest import the modules of jobfleet as they are.

    pytest rewrites the assertions of a package that has a plugin. To that end it parses each module, and Python 3.11
    fails at times if two threads do so, as when a worker in a thread imports something (cpython#106905).
    """
    config.addinivalue_line("markers", MARKER)
    hook: Any = getattr(config.pluginmanager, "rewrite_hook", None)
    if hasattr(hook, "_must_rewrite"):  # not with --assert=plain
        hook._must_rewrite.discard("jobfleet")  # noqa: SLF001 - pytest has no other way to take a package out
        hook._marked_for_rewrite_cache.clear()  # noqa: SLF001 - as above


@pytest.fixture(scope="session")
def jobfleet_url() -> Iterator[str]:
    """The URL of the server for the tests: an embedded server, or fakeredis if no server is installed.

    Override this fixture to use another server; jobfleet does not empty it.
    """
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
    """The jobs that a test enqueues. Within the test, the default fleet is a new fleet in its own namespace."""
    made = _made(jobfleet_url)
    with made.fleet, made.in_place():
        yield made
    made.kit.faults.check_reached()


def _made(url: str) -> Jobs:
    import os

    from jobfleet.fleet.sync import Fleet
    from jobfleet.testing.jobs import Jobs

    return Jobs(Fleet(url, namespace=f"test-{os.getpid()}-{next(_numbers)}"))


@pytest.hookimpl(tryfirst=True)
def pytest_pyfunc_call(pyfuncitem: pytest.Function) -> bool | None:
    """Run a test with the marker under each of its kill points."""
    marker = pyfuncitem.get_closest_marker("jobfleet_crashes")
    if marker is None:
        return None
    names = inspect.signature(pyfuncitem.obj).parameters
    if "jobs" not in names or inspect.iscoroutinefunction(pyfuncitem.obj):
        pytest.fail("jobfleet_crashes is for a def test with the fixture jobs.", pytrace=False)
    from jobfleet.testing.crashes import explore

    wrong = [name for name in marker.kwargs if name not in ("seed", "most")]
    if marker.args or wrong or not all(type(value) is int and value >= 0 for value in marker.kwargs.values()):
        pytest.fail("jobfleet_crashes takes whole numbers only: seed=0, most=50.", pytrace=False)

    fixture: Any = pyfuncitem.funcargs["jobs"]
    url = fixture.fleet.config.url
    others = {name: pyfuncitem.funcargs[name] for name in names if name != "jobs"}
    report = explore(lambda jobs: pyfuncitem.obj(jobs=jobs, **others), lambda: _made(url), **marker.kwargs)
    if not report.is_idempotent:
        pytest.fail(str(report), pytrace=False)
    return True
