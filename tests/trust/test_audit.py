"""The audit of a fleet with keys: its values are sealed, and who did what can be read without keys."""

from __future__ import annotations

from typing import Any

from jobfleet import Fleet
from tests.trust.conftest import NEW, OLD, FleetWith, spelled
from tests.trust.test_secrecy import MARK, dumped


def heads(fleet: Fleet) -> list[tuple[str, str, str]]:
    return [(entry.by, entry.action, entry.outcome) for entry in fleet.audit().entries]


def test_values_are_not_in_clear_text_and_the_head_is(fleet_with: FleetWith, raw: Any) -> None:
    fleet = fleet_with(keyring=spelled(old=OLD), encrypt="require")
    raw.flushall()

    fleet.limits.set("mail", rate="77/h", by="ann")

    stored = raw.xrange(fleet.context.keys.audit)
    assert b"77/h" not in repr(stored).encode()
    assert b"limit.set" in repr(stored).encode()
    (entry,) = fleet.audit().entries
    assert (entry.after, entry.unread) == ({"rate": "77/h"}, "")
    reader = fleet_with()
    (entry,) = reader.audit().entries
    assert (entry.by, entry.action, entry.outcome, entry.before, entry.after) == ("ann", "limit.set", "done", {}, {})
    assert "'old'" in entry.unread


def test_a_changed_record_is_noticed(signed: Fleet, raw: Any) -> None:
    signed.pause("mail", by="ann", reason=MARK)
    assert MARK.encode() in dumped(raw)  # signed, not encrypted
    key = signed.context.keys.audit
    ((_, fields),) = raw.xrange(key)
    raw.delete(key)

    for name, value in (("head", fields[b"head"].replace(b"ann", b"eve")), ("body", fields[b"body"][:-1] + b"!"),
                        ("id", b"another")):  # fmt: skip
        raw.xadd(key, {**fields, name.encode(): value})
    raw.xadd(key, {**fields, b"body": b"\x80"})
    raw.xadd(key, fields)

    good, *bad = signed.audit().entries
    assert (good.by, good.after["reason"], good.unread) == ("ann", MARK, "")
    assert [(entry.before, entry.after) for entry in bad] == [({}, {})] * 4
    assert all("audit: its signature is wrong" in entry.unread for entry in bad[1:])
    assert "neither signed nor encrypted" in bad[0].unread


def test_records_of_all_keys_of_the_keyring_are_read(fleet_with: FleetWith) -> None:
    fleet_with(keyring=spelled(old=OLD), sign="send").pause("mail", by="ann")
    fleet_with(keyring=spelled(new=NEW, old=OLD), sign="send").resume("mail", by="bob")

    both = fleet_with(keyring=spelled(new=NEW, old=OLD), sign="require")

    assert heads(both) == [("bob", "queue.resume", "done"), ("ann", "queue.pause", "done")]
    assert [entry.unread for entry in both.audit().entries] == ["", ""]
