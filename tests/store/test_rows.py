"""Clear records of a whole claim are read as each would be read by itself."""

from __future__ import annotations

from collections.abc import Sequence

import pytest

from jobfleet.store.call import Reply
from jobfleet.store.calls.lease import claim
from jobfleet.store.keys import Keyspace
from jobfleet.store.rows import Unreadable, id_of, ids_of, meta_of, metas_of

SOUND = (
    (b"g acme", b"g zebra crossing"),
    (b"g acme", None, b""),
    (b"g acme\nx 1700000000000000", b"u key\nx 17"),
    (b"u key\ns q", b"g acme"),
    (b"u key\ns 17\ni tag", b"h anything", b"r 300"),
    ("g émile".encode(), b"g g", b"i "),
)
BROKEN = (
    b"g ",
    b"x soon",
    b"s q",
    b"s 1\ng acme",
    b"\n",
    b"g acme\n",
    b"\ng acme",
    b"g acme\ng ",
    b"A b",
    b"r",
    b"\xff\xfe",
)


@pytest.mark.parametrize("metas", SOUND)
def test_clear_records_that_are_sound_are_read_as_they_are(metas: Sequence[bytes | None]) -> None:
    assert metas_of(metas) == [(meta or b"").decode() for meta in metas] == [meta_of(meta) for meta in metas]


@pytest.mark.parametrize("broken", BROKEN)
def test_one_that_is_broken_is_noticed_wherever_it_is(broken: bytes) -> None:
    with pytest.raises(Unreadable):
        meta_of(broken)
    for metas in ((broken,), (b"g acme", broken), (broken, b"g acme"), (b"g acme", broken, b"g zebra"), (b"", broken)):
        with pytest.raises(ValueError):
            metas_of(metas)


IDS = (b"mail.0.a", b"mail.0.0192f0c1aaaa7abc8def0123456789ab", b"mail.0." + b"x" * 64)
STRANGE = (
    b"",
    b"mail.0.",
    b"mail.0.a b",
    b"mail.0.a\nmail.0.b",
    b"post.0.a",
    b"mail.1.a",
    b"\xff",
    b"mail.0." + b"x" * 65,
)


def test_ids_are_read_together_as_they_are_one_by_one() -> None:
    assert ids_of(IDS, "mail.0.") == [id_of(raw, "mail.0.") for raw in IDS] == ids_of(IDS)
    assert ids_of((), "mail.0.") == ids_of(()) == []
    assert ids_of((b"post.0.a", b"mail.1.a")) == ["post.0.a", "mail.1.a"]


@pytest.mark.parametrize("strange", STRANGE)
def test_an_id_that_is_none_is_noticed_wherever_it_is(strange: bytes) -> None:
    with pytest.raises(Unreadable):
        id_of(strange, "mail.0.")
    for raws in ((strange,), (strange, *IDS), (*IDS, strange), (IDS[0], strange, IDS[1])):
        with pytest.raises(Unreadable):
            ids_of(raws, "mail.0.")


@pytest.mark.parametrize(
    "strange", [b"", b"a", b"mail", b"mail.0", b"mail.0.", b"mail.0.a b", b"mail.x.a", "mail.0.é".encode()]
)
def test_an_id_of_no_lane_is_noticed_among_ids_of_any_lane(strange: bytes) -> None:
    for raws in ((strange,), (strange, *IDS), (*IDS, strange), (IDS[0], strange, b"post.0.a")):
        with pytest.raises(Unreadable):
            ids_of(raws)


def test_a_job_whose_entry_in_its_group_has_no_due_time_counts_as_long_due() -> None:
    lane = Keyspace("jobs").lane("default", 0)
    call = claim(lane, child="w.0", nonce=1, lease_us=30_000_000, limit=2)
    stood = f"{lane.id_prefix}a 1700000000000000 {lane.id_prefix}b 0nonsense".encode()
    reply: Reply = [b"claimed", b"1700000000000001", b"0", b"7", b"22", stood, [b"A", b"B"], [], [b"g acme", b"g acme"]]
    claimed = call.read(reply)
    assert [(grant.id, grant.token, grant.due) for grant in claimed.grants] == [
        (f"{lane.id_prefix}a", 7, 1700000000000000),
        (f"{lane.id_prefix}b", 8, 0),
    ]
    assert claimed.unreadable == ()
