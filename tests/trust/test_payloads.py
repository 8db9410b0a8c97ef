"""With signing on, a reference to the payload store that was changed by hand in Redis leads nowhere."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from jobfleet import BadSignature, Fleet, Job
from tests.trust.conftest import OLD, FleetWith, spelled

LARGE = "x" * 5000


@pytest.fixture(params=["sign", "encrypt"])
def fleet(request: pytest.FixtureRequest, fleet_with: FleetWith, tmp_path: Path) -> Fleet:
    settings = {"payload_store": f"file://{tmp_path}/payloads", "payload_threshold": 1024, request.param: "require"}
    return fleet_with(keyring=spelled(old=OLD), **settings)


def spoil(raw: Any, key: str) -> None:
    """Change the last byte of a stored value, which is one of its signature."""
    stored = raw.get(key)
    raw.set(key, stored[:-1] + bytes([stored[-1] ^ 1]), keepttl=True)


def test_changed_arguments_never_run_and_are_not_shown(fleet: Fleet, raw: Any, ran: list[Any]) -> None:
    job = fleet.enqueue(Job("note", "app.note", (LARGE,)))
    spoil(raw, fleet.context.keys.lane_of(job).job(job))
    assert fleet.details(job).args is None
    with pytest.raises(BadSignature, match="its signature is wrong"):
        fleet.edit(job, ["mine"])

    fleet.run_worker(burst=True)

    (letter,) = fleet.dead()
    assert (letter.id, letter.error_class, ran) == (job, "bad-signature", [])
    assert fleet.letter(job).args is None
    with pytest.raises(BadSignature, match="its signature is wrong"):
        fleet.replay(job, args=["mine"])


def test_a_changed_result_is_not_returned(fleet: Fleet, raw: Any) -> None:
    job = fleet.enqueue(Job("add", "app.add", ("x" * 3000, "y" * 3000)))
    fleet.run_worker(burst=True)
    assert fleet.poll(job).result == "x" * 3000 + "y" * 3000

    spoil(raw, fleet.context.keys.lane_of(job).result(job))

    with pytest.raises(BadSignature, match="its signature is wrong"):
        fleet.poll(job)
    (row,) = fleet.poll_many([job])
    assert row is not None
    assert (row.result, row.error_class) == (None, "bad-signature")
    assert "its signature is wrong" in str(row.error)
