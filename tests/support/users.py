"""Redis users for tests: with `JOBFLEET_TEST_USERS=1`, each suite runs as the user of its role.

A test then also fails if the server has refused anything. Such as `JOBFLEET_TEST_USERS=1 scripts/test tests/services`.
"""

from __future__ import annotations

import atexit
import os
from collections.abc import Callable, Sequence
from contextlib import closing
from copy import copy
from functools import cache
from pathlib import Path
from tempfile import TemporaryDirectory
from types import SimpleNamespace
from typing import Any

import pytest
import redis

from jobfleet.notify.registry import default, managers
from jobfleet.services.duties.archive import Archive
from jobfleet.services.duties.cron import Cron
from jobfleet.services.duties.leases import Leases
from jobfleet.services.duties.notify import Notify
from jobfleet.services.duties.relay import Relay
from jobfleet.services.duties.retention import Retention
from jobfleet.store.acl import text
from jobfleet.store.aio import AsyncStore
from jobfleet.store.link.aio import AsyncSocketLink
from jobfleet.store.sync import Store
from jobfleet.store.target import target
from jobfleet.worker import in_process

ARE_USED = os.environ.get("JOBFLEET_TEST_USERS") == "1"
CLIENTS = ("operator", "producer", "canceller")
"""The roles that the tests of clients play."""
UrlOf = Callable[[str], str]
"""The URL of a server for a role."""
BY_FOLDER = {"cli": "operator", "panels": "operator", "client": os.environ.get("JOBFLEET_TEST_CLIENT", "operator")}
"""The role that the tests of a folder play; those of other folders only give workers and duties a role."""


def create(client: redis.Redis, namespace: str = "jobfleet") -> None:
    """Create the users of all roles as deploy/redis/users.acl has them; the password of each is its name."""
    execute: Any = client.execute_command
    for line in text(namespace).splitlines():
        _, name, rules = line.split(" ", 2)
        execute("ACL", "SETUSER", name, "reset", *_rules(rules), f">{name}")


@cache
def acl_file() -> Path:
    """A file for servers with the same users, and a default one that may do everything; it goes with the process."""
    folder = TemporaryDirectory(prefix="jobfleet-users-")
    atexit.register(folder.cleanup)
    lines = [f"{line} >{line.split(' ')[1]}" for line in text("jobfleet").splitlines()]
    path = Path(folder.name) / "users.acl"
    path.write_text("\n".join(["user default on nopass sanitize-payload ~* &* +@all", *lines, ""]))
    return path


def _rules(text: str) -> list[str]:
    """Split rules at the spaces between selectors."""
    rules: list[str] = []
    for word in text.split(" "):
        if rules and rules[-1].startswith("(") and not rules[-1].endswith(")"):
            rules[-1] += f" {word}"
        else:
            rules.append(word)
    return rules


def url_as(url: str, role: str) -> str:
    """Return the URL of a server with the user of a role; without a role, as it is."""
    if not role:
        return url
    scheme, _, rest = url.partition("://")
    return f"{scheme}://{role}:{role}@{rest}"


def role_of(path: Path) -> str:
    """Return the role that a file of tests plays."""
    tests = path.parts.index("tests")
    return BY_FOLDER.get(path.parts[tests + 1], "")


def role_of_command(arguments: Sequence[str], *, with_reaper: bool = False) -> str:
    """Return the role that a command plays."""
    name = next((one for one in arguments if not one.startswith("-")), "")
    if name == "worker" and (with_reaper or "--with-reaper" in arguments):
        return "host"
    return name if name in {"worker", "reaper"} else "operator"


def role_of_worker(config: Any, *, with_reaper: bool) -> str:
    """Return the role that a worker inside this process plays: a program with channels or an archive reports, too."""
    reports = config.archive_url is not None or any(manager is not default for manager in managers)
    return "host" if with_reaper or reports else "worker"


def denials(client: redis.Redis) -> list[str]:
    """Return what the server has refused since the last call: who, the reason and the command, key or channel."""
    execute: Any = client.execute_command
    rows = [
        row if isinstance(row, dict) else dict(zip(row[::2], row[1::2], strict=True)) for row in execute("ACL", "LOG")
    ]
    execute("ACL", "LOG", "RESET")
    return [f"{row['username']}: {row['reason']} {row['object']}" for row in rows if row["reason"] != "auth"]


def swap_users(patch: pytest.MonkeyPatch, server: str) -> None:
    """Let workers and duties inside this process connect as their roles, where a test gives them its own connection."""
    original = in_process.run_worker

    def run_worker(fleet: Any, **options: Any) -> None:
        if fleet.store.at.url not in {server, *(url_as(server, role) for role in CLIENTS)}:
            original(fleet, **options)
            return
        role = role_of_worker(fleet.config, with_reaper=options.get("with_reaper", False))
        with closing(Store(target(url_as(server, role)), patience=fleet.config.patience)) as store:
            original(SimpleNamespace(config=fleet.config, context=fleet.context, store=store), **options)

    patch.setattr(in_process, "run_worker", run_worker)
    for duty in (Archive, Cron, Leases, Notify, Relay, Retention):
        patch.setattr(duty, "__init__", _as_reaper(duty.__init__, server))


def _as_reaper(original: Callable[..., None], server: str) -> Callable[..., None]:
    """Give a duty a copy of the store of a test, with connections of the reaper's user."""

    def made(self: Any, store: Any, *args: Any, **options: Any) -> None:
        if type(store) is AsyncStore and store.at.url == server and type(store.link) is AsyncSocketLink:
            given: Any = store
            own: Any = copy(given)
            own_close = given.close
            own.at = target(url_as(server, "reaper"))
            own.link = link = AsyncSocketLink(own.at, connect_timeout=5, socket_timeout=5)

            async def close() -> None:
                await link.close()
                await own_close()

            given.close = close
            store = own
        original(self, store, *args, **options)

    return made
