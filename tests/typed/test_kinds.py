"""Each kind of type as an argument and as a result, through a worker process that all kinds share."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from typing import Any

import pytest

from jobfleet import Fleet, Job, JobStatus, Secret, TypeMismatch
from jobfleet.functions.registry import Registry
from jobfleet.handle._sync.handle import JobHandle
from tests.e2e.apps import typed_kinds
from tests.support.fleet import LONG, Programs
from tests.support.server import RedisServer

KINDS = typed_kinds.KINDS
ORDER = typed_kinds.ORDER
Handles = dict[str, JobHandle[Any]]


@pytest.fixture(scope="module")
def handles(server: RedisServer, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Handles]:
    """A job per kind, enqueued by a producer that has the functions; and jobs of other executors."""
    server.flush()
    registry = Registry()
    functions = typed_kinds.registered(registry)
    programs = Programs(server.url, tmp_path_factory.mktemp("kinds"))
    try:
        programs.ready("typed_kinds")
        with Fleet(server.url, registry=registry) as fleet, Fleet(server.url, registry=Registry()) as stranger:
            found = {kind: fleet.handle_of(functions[kind].job(value)) for kind, (_, value) in KINDS.items()}
            found["awaited"] = fleet.handle_of(functions["awaited"].job(ORDER))
            found["isolated"] = fleet.handle_of(functions["isolated"].job(ORDER))
            found["isolated_result"] = fleet.handle_of(functions["isolated"].job(ORDER, wrong=True))
            wrong = Job("wrong", "kinds.isolated", ({"id": "x"},))
            found["isolated_arguments"] = stranger.handle_of(wrong)
            yield found
    finally:
        programs.close()
        sys.stdout.write(programs.logs())


@pytest.mark.parametrize("kind", KINDS)
def test_a_value_arrives_as_its_type_and_returns_as_its_type(kind: str, handles: Handles) -> None:
    value = handles[kind].result(timeout=LONG)

    assert typed_kinds.same(value, KINDS[kind][1])


@pytest.mark.parametrize("kind", ["awaited", "isolated"])
def test_so_it_does_on_the_event_loop_and_in_a_process_of_its_own(kind: str, handles: Handles) -> None:
    assert handles[kind].result(timeout=LONG) == ORDER.lines


def test_a_process_of_its_own_reports_what_does_not_fit(handles: Handles) -> None:
    arguments = handles["isolated_arguments"].wait(timeout=LONG)
    result = handles["isolated_result"].wait(timeout=LONG)

    assert (arguments.status, arguments.error_class) == (JobStatus.FAILED, "invalid-arguments")
    assert "kinds.isolated: order.id: expected UUID, not str." in str(arguments.error)
    assert (result.status, result.error_class) == (JobStatus.FAILED, TypeMismatch.__name__)
    assert (
        result.error
        == "the result of kinds.isolated does not fit the return annotation: result[0]: expected Line, not int."
    )


def test_the_stored_result_is_plain_data(handles: Handles, server: RedisServer) -> None:
    handles["dataclass"].wait(timeout=LONG)

    with Fleet(server.url, registry=Registry()) as stranger:
        value = stranger.poll(handles["dataclass"].id).result

    assert value == {
        "id": ORDER.id,
        "lines": [{"sku": "a", "price": ORDER.lines[0].price, "tags": frozenset({"new"})}],
        "at": ORDER.at,
        "color": "red",
        "files": {"bill": "/tmp/bill"},
        "parent": None,
        "password": Secret("pw"),
    }
