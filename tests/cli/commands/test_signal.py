"""`jobfleet signal`."""

from __future__ import annotations

import json

import pytest

from jobfleet import Fleet, Job
from jobfleet.codec import decode
from jobfleet.store.calls.run import steps
from tests.cli.hand import Cli

pytestmark = pytest.mark.filterwarnings("ignore:No worker has published:UserWarning")
ONE = "default.0.a"


@pytest.fixture(autouse=True)
def one(fleet: Fleet) -> None:
    """A job that waits."""
    fleet.enqueue(Job("Add up", "demo.add", (1, 2), id="a"))


@pytest.mark.parametrize(
    ("given", "kept"), [((), None), (('{"by": "ann"}',), {"by": "ann"}), (("yes",), "yes"), (("7",), 7)]
)
def test_a_signal_is_sent_once(cli: Cli, fleet: Fleet, given: tuple[str, ...], kept: object) -> None:
    sent = cli("signal", ONE, "approved", *given, "--by", "ann")
    again = cli("signal", ONE, "approved", "-o", "json")

    assert (sent.exit_code, sent.stdout) == (0, f"{ONE}  signalled  approved\n")
    assert again.exit_code == 1
    assert json.loads(again.stdout) == {"id": ONE, "signal": "approved", "sent": False}
    assert again.stderr == f"{ONE} has ended, or another signal 'approved' came first.\n"
    record = fleet.store.run(steps(fleet.context.keys.lane_of(ONE), ONE))["x:approved"]
    assert decode(record.partition(b"\n")[2], what="signal") == kept


def test_a_job_that_is_not_known_gets_none(cli: Cli) -> None:
    assert cli("signal", "default.0.zzz", "approved").exit_code == 3
