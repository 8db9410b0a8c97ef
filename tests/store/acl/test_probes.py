"""The examples by which `doctor` asks the server whether a user may do what its role needs."""

from __future__ import annotations

from typing import Any

import pytest
import redis

from jobfleet.config import JobConfig
from jobfleet.operations.operation import batches
from jobfleet.store.acl import probes, role_of, roles
from jobfleet.store.calls import doctor
from jobfleet.store.keys import Keyspace
from jobfleet.store.sync import Store
from jobfleet.store.target import target_of
from tests.store.acl.conftest import ROLES
from tests.support.users import UrlOf, denials

KEYS = Keyspace("jobfleet")


@pytest.mark.parametrize("name", ROLES)
def test_a_user_lacks_nothing_of_its_own_role(name: str, url_of: UrlOf, admin: redis.Redis, variant: str) -> None:
    config = JobConfig(url=url_of(name), scripts=variant)
    store = Store(target_of(config))
    role = role_of(name).with_functions() if variant == "functions" else role_of(name)

    for part in batches(probes(role, "jobfleet"), doctor.CHUNK):
        assert store.run(doctor.lacking(KEYS, part)) == ()

    store.close()
    assert denials(admin) == []


def test_an_example_has_as_many_words_as_its_command_takes(admin: redis.Redis) -> None:
    """Some servers refuse to judge one that they would not run."""
    words = [
        probe.split("\n")
        for one in roles()
        for role in (one, one.with_functions())
        for probe in probes(role, "jobfleet")
    ]
    takes = {name: arity(admin, name) for name in {command(one) for one in words}}

    wrong = [one for one in words if (n := takes[command(one)]) != len(one) and (n > 0 or len(one) < -n)]

    assert wrong == []


def command(words: list[str]) -> str:
    """The name of a command, with that of the part of it that is meant."""
    return "|".join(words[:2]) if words[0] in {"XGROUP", "XINFO"} else words[0]


def arity(client: redis.Redis, name: str) -> int:
    """How many words a command has; negative if it may have more."""
    execute: Any = client.execute_command
    (row,) = execute("COMMAND", "INFO", name).values()
    return int(row["arity"])
