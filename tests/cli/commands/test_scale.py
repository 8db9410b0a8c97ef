"""`scale`."""

from __future__ import annotations

import json

import redis

from jobfleet import Fleet
from tests.cli.hand import Cli
from tests.operations.test_scale import serves
from tests.support.seed import Seed


def test_it_prints_the_number_the_reason_and_what_to_do(cli: Cli, fleet: Fleet, raw: redis.Redis) -> None:
    fleet.store.run(fleet.context.open_queue_call("mail"))
    seed = Seed(raw, fleet.context.keys.lane("mail", 0))
    for number in range(1200):
        seed.waiting(str(number), due=-10)

    result = cli("scale", "mail", "--wait", "20s", "--most", "3")

    first, reason = result.stdout.splitlines()
    assert first == "mail: 3 workers; now 0."
    assert "1,200 waiting jobs need 60 slots to start within 20 s." in reason
    assert "Start 3 workers more." in result.stderr


def test_it_names_the_workers_to_remove(cli: Cli, fleet: Fleet) -> None:
    fleet.store.run(fleet.context.open_queue_call("mail"))
    serves(fleet, "w1", running=1)
    serves(fleet, "w2")

    assert cli("scale", "mail", "--most", "1", "-o", "ids").stdout.split() == ["w2"]
    assert "Remove w2: jobfleet workers stop w2" in cli("scale", "mail", "--most", "1").stdout
    data = json.loads(cli("scale", "mail", "--most", "1", "-o", "json").stdout)
    assert (data["workers"], data["current"], data["remove"]) == (1, 2, ["w2"])


def test_what_is_wrong_is_a_usage_error(cli: Cli, fleet: Fleet) -> None:
    assert cli("scale", "mial").exit_code == 3
    fleet.store.run(fleet.context.open_queue_call("mail"))
    result = cli("scale", "mail", "--least", "9", "--most", "3")
    assert result.exit_code == 2
    assert "give 0 <= least <= most" in result.stderr
