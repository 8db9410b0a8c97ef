"""The configuration of the server: a real one takes it, and the doctor has nothing to say of it."""

from __future__ import annotations

import re

from jobfleet import Fleet
from tests.deploy.deployed import DEPLOY
from tests.support.server import RedisServer

ROWS = dict(re.findall(r"^([a-z-]+) (.+)$", (DEPLOY / "redis" / "redis.conf").read_text(), re.MULTILINE))


def test_a_server_takes_each_line_and_the_doctor_finds_no_fault() -> None:
    arguments = [word for name, value in ROWS.items() for word in (f"--{name}", *value.split())]

    with RedisServer(*arguments) as server, server.client() as raw, Fleet(server.url) as fleet:
        found = {one.check: one.level.value for one in fleet.doctor().findings}
        given = {name: raw.config_get(name) for name in ROWS}

    assert all(given.values())
    assert {check: found[check] for check in ("eviction", "persistence", "memory")} == dict.fromkeys(
        ("eviction", "persistence", "memory"), "ok"
    )
