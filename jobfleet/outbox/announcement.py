"""How a relay announces which database it relays: beside the reapers that fire recurring jobs, as a process of its own.

The name of a database is its kind and the last part of its path, such as ``sqlite/shop.db``. Hosts, users and drivers
are not part of it, because a program and a reaper may reach one database in different ways.
"""

from __future__ import annotations

import os
import socket
from collections.abc import Iterable
from pathlib import PurePath
from urllib.parse import urlsplit
from uuid import uuid4

from jobfleet.config import JobConfig
from jobfleet.outbox.statements import kind_of
from jobfleet.store.calls.presence import Attendant


def name_of(vendor: str, database: object) -> str:
    """The name of a database.

    Args:
        vendor: The name of SQLAlchemy's dialect, or of Django's vendor.
        database: The name or the path of the database; None if it is unknown.

    Raises:
        ConfigError: The outbox does not support it.
    """
    return f"{kind_of(vendor)}/{PurePath(str(database or '')).name.removeprefix('file:')}"


def name_of_url(url: str) -> str:
    """The name of the database of a URL that `check_outbox_url` has accepted."""
    parts = urlsplit(url)
    vendor = parts.scheme.partition("+")[0]
    return name_of("postgresql" if vendor == "postgres" else vendor, parts.path)


def relay_id(name: str) -> str:
    """A new id under which a relay of a database announces itself."""
    return f"{socket.gethostname()}:{os.getpid()}:{uuid4().hex[:6]}:{name}"


def relayed_by(config: JobConfig, attendants: Iterable[Attendant]) -> tuple[str, ...]:
    """The names of the databases that live relays have announced, one for each relay."""
    gone_us = round(config.gone_after * 1e6)
    live = (one.id for one in attendants if one.role == "relay" and one.silent <= gone_us)
    return tuple(sorted(process.split(":", 3)[-1] for process in live))


def is_relayed(name: str, relayed: Iterable[str]) -> bool:
    """Whether one of some names is that of a database; an unknown path is any."""
    kind, _, path = name.partition("/")
    unknown = f"{kind}/"
    return any(one in (name, unknown) or (not path and one.startswith(unknown)) for one in relayed)
