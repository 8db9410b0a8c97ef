"""Lets a user run scripts with the permissions that `jobfleet.store.acl` derives for each, and no others."""

from __future__ import annotations

from typing import Any

import redis

from jobfleet.store.acl import FOR_ANY_KEY, calls_of, grants_of, selectors
from jobfleet.store.call import Call
from tests.lua.world import KEYS, PASSWORD, USER

ALWAYS = ("+client|setinfo", "+select", "+ping", "+time", "+info", "+cluster|slots", "+pubsub|numsub", "+publish", "&*")


class Permitting:
    """Before each call, let the user `granted` do what this script needs, and nothing else."""

    def __init__(self, raw: redis.Redis) -> None:
        execute: Any = raw.execute_command
        self._execute = execute
        self._script = ""
        execute("ACL", "SETUSER", USER, "reset", "on", f">{PASSWORD}", *ALWAYS)

    def __call__(self, call: Call[Any]) -> None:
        """Let the user run a call."""
        name = call.script.name
        if name == self._script:
            return
        self._script = name
        if name in FOR_ANY_KEY:
            rules = ["(+@all -@dangerous +rename ~*)"]
        else:
            rules = selectors(grants_of(name) | calls_of(name), lambda key: [key.pattern(KEYS.namespace)])
        self._execute("ACL", "SETUSER", USER, "clearselectors", *rules)
