"""Rows with signatures and encryption: each drain and bulk enqueue beside a plain one of the same round."""

from __future__ import annotations

import base64
import os
import time
from collections.abc import Mapping
from typing import Literal, NamedTuple

from bench.figure import Figure, Reading, Row
from bench.functions import add
from bench.setting import Setting, fill
from jobfleet import Fleet, Job

PLAIN = "the same without keys"
SLOTS = 100
Level = Literal["off", "require"]


class Passed(NamedTuple):
    """Jobs per second: enqueued in bulk, and drained from the first start to the last end."""

    bulk: float
    drain: float


def _pass(setting: Setting, count: int, *, sign: Level = "off", encrypt: Level = "off") -> Passed:
    is_plain = sign == encrypt == "off"
    keyring = None if is_plain else f"keys:bench={base64.b64encode(os.urandom(32)).decode()}"
    flags = [] if keyring is None else ["--keyring", keyring, "--sign", sign, "--encrypt", encrypt]
    with setting.server() as server, Fleet(server.url, keyring=keyring, sign=sign, encrypt=encrypt) as fleet:
        started = time.monotonic()
        fill(fleet, (Job("bench", add.name, (10, 20)) for _ in range(count)))
        bulk = count / (time.monotonic() - started)
        worker = server.worker("-p", "1", "-c", str(SLOTS), *flags)
        seen = server.drained(count)
        server.kill(worker)
    return Passed(bulk, (count - 1) / (seen.last - seen.first))


def trust(setting: Setting) -> Mapping[str, Reading]:
    count = setting.size(40_000, 6_000)
    plain = _pass(setting, count)
    signed = _pass(setting, count, sign="require")
    encrypted = _pass(setting, count, encrypt="require")
    return {
        "trust_bulk_sign": Reading(signed.bulk, plain.bulk),
        "trust_bulk_encrypt": Reading(encrypted.bulk, plain.bulk),
        "trust_drain_sign": Reading(signed.drain, plain.drain),
        "trust_drain_encrypt": Reading(encrypted.drain, plain.drain),
    }


ROWS = (
    Row(
        "trust",
        (
            Figure("trust_bulk_sign", "enqueue in bulk, signed", "jobs/s", PLAIN),
            Figure("trust_bulk_encrypt", "enqueue in bulk, encrypted", "jobs/s", PLAIN),
            Figure("trust_drain_sign", "drain, signed", "jobs/s", PLAIN),
            Figure("trust_drain_encrypt", "drain, encrypted", "jobs/s", PLAIN),
        ),
        trust,
    ),
)
