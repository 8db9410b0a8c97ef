"""With signing on, what was changed by hand in Redis never runs and is never returned; the lane continues."""

from __future__ import annotations

from typing import Any

import pytest

from jobfleet import EncodingError, Fleet, Job, JobStatus
from jobfleet.codec import open_envelope, seal, seal_record
from jobfleet.errors import BadSignature
from tests.trust.conftest import NEW, OLD, FleetWith, spelled


def key_of(fleet: Fleet, job_id: str) -> str:
    return fleet.context.keys.lane_of(job_id).job(job_id)


def result_key(fleet: Fleet, job_id: str) -> str:
    return fleet.context.keys.lane_of(job_id).result(job_id)


def flipped(data: bytes, at: int) -> bytes:
    return data[:at] + bytes([data[at] ^ 1]) + data[at + 1 :]


POSITIONS = {
    "the algorithm": 1,
    "the length of the header": 5,
    "the header": 12,
    "the first byte of the body": -60,
    "the signature": -1,
}


@pytest.mark.parametrize("encrypt", ["off", "require"])
@pytest.mark.parametrize("place", POSITIONS.values(), ids=POSITIONS.keys())
def test_an_envelope_with_a_changed_byte_never_runs(
    fleet_with: FleetWith, raw: Any, ran: list[Any], place: int, encrypt: str
) -> None:
    fleet = fleet_with(keyring=spelled(old=OLD), sign="require", encrypt=encrypt)
    bad = fleet.enqueue(Job("note", "app.note", ("x" * 100,)))
    good = fleet.enqueue(Job("note", "app.note", ("fine",)))
    key = key_of(fleet, bad)
    raw.set(key, flipped(raw.get(key), place))
    fleet.run_worker(burst=True)
    assert ran == ["fine"]
    assert fleet.poll(good).status is JobStatus.COMPLETED
    assert [row.id for row in fleet.dead()] == [bad]


def test_every_byte_counts(fleet_with: FleetWith) -> None:
    fleet = fleet_with(keyring=spelled(old=OLD), sign="require", encrypt="require")
    seals = fleet.context.keys.seals
    assert seals is not None
    stored = seals.envelope("default.0.a", seal({"function": "app.note"}, ["text"], {}))
    assert seals.open_envelope("default.0.a", stored)[1] == 0
    for at in range(len(stored)):
        for bit in (1, 0x80):
            changed = stored[:at] + bytes([stored[at] ^ bit]) + stored[at + 1 :]
            with pytest.raises(EncodingError):
                open_envelope(seals.open_envelope("default.0.a", changed))


def test_the_reason_is_a_bad_signature(signed: Fleet, raw: Any, ran: list[Any]) -> None:
    job = signed.enqueue(Job("note", "app.note", ("x" * 100,)))
    raw.set(key_of(signed, job), flipped(raw.get(key_of(signed, job)), -1))
    signed.run_worker(burst=True)
    (letter,) = signed.dead()
    assert (letter.id, letter.error_class) == (job, "bad-signature")
    assert "signature is wrong" in (letter.error or "")
    with pytest.raises(BadSignature):
        signed.replay(job, args=["mine"])  # a change does not make it trusted
    signed.replay(job)
    signed.run_worker(burst=True)
    assert [row.id for row in signed.dead()] == [job]
    assert ran == []


def test_swapped_envelopes_do_not_run(signed: Fleet, raw: Any, ran: list[Any]) -> None:
    one, two = (signed.enqueue(Job("note", "app.note", (text,))) for text in ("one", "two"))
    first, second = raw.get(key_of(signed, one)), raw.get(key_of(signed, two))
    raw.mset({key_of(signed, one): second, key_of(signed, two): first})
    signed.run_worker(burst=True)
    assert ran == []
    assert {row.id for row in signed.dead()} == {one, two}


def test_a_result_does_not_run_as_an_envelope(signed: Fleet, raw: Any, ran: list[Any]) -> None:
    done = signed.enqueue(Job("add", "app.add", (1, 2)))
    signed.run_worker(burst=True)
    record = raw.get(result_key(signed, done)).partition(b"\n")[2]
    job = signed.enqueue(Job("note", "app.note", ("x",)))
    raw.set(key_of(signed, job), bytes([record[0], 1]) + record[2:])
    signed.run_worker(burst=True)
    assert [row.id for row in signed.dead()] == [job]
    assert ran == []


def test_an_unsigned_job_does_not_run(signed: Fleet, fleet_with: FleetWith, ran: list[Any]) -> None:
    job = fleet_with().enqueue(Job("note", "app.note", ("forged",)))
    signed.run_worker(burst=True)
    (letter,) = signed.dead()
    assert (letter.id, letter.error_class, ran) == (job, "bad-signature", [])


def test_a_signed_job_does_not_run_where_encryption_is_required(fleet_with: FleetWith, ran: list[Any]) -> None:
    job = fleet_with(keyring=spelled(old=OLD), sign="send").enqueue(Job("note", "app.note", ("x",)))
    fleet = fleet_with(keyring=spelled(old=OLD), encrypt="require")
    fleet.run_worker(burst=True)
    assert [(row.id, row.error_class) for row in fleet.dead()] == [(job, "bad-signature")]
    assert ran == []


def test_a_forged_result_is_not_returned(signed: Fleet, raw: Any) -> None:
    one, two = (signed.enqueue(Job("add", "app.add", (n, n))) for n in (1, 2))
    signed.run_worker(burst=True)
    keys = [result_key(signed, job) for job in (one, two)]
    first, second = (raw.get(key).partition(b"\n") for key in keys)
    raw.mset({keys[0]: b"".join((*first[:2], second[2])), keys[1]: b"".join((*second[:2], first[2]))})
    for job in (one, two):
        with pytest.raises(BadSignature, match="result"):
            signed.poll(job)
        with pytest.raises(BadSignature):
            signed.wait(job, timeout=5)
    for row in signed.poll_many([one, two]):
        assert row is not None
        assert row.result is None
        assert "signature" in (row.error or "")
    forged = seal_record({"function": "app.add", "value": 666})
    raw.set(keys[0], first[0] + b"\n" + forged)
    with pytest.raises(BadSignature, match="neither signed"):
        signed.poll(one)


def test_chunks_of_an_output_that_were_moved_are_not_returned(
    signed: Fleet, raw: Any, caplog: pytest.LogCaptureFixture
) -> None:
    job = signed.enqueue(Job("talk", "app.talk"))
    signed.run_worker(burst=True)
    key = signed.context.keys.lane_of(job).chunks(job)
    (first, one), (second, two) = raw.xrange(key)
    assert [chunk.value for chunk in signed.stream(job)] == ["yes", "no"]

    raw.delete(key)
    raw.xadd(key, {**one, b"v": two[b"v"]}, id=first)
    raw.xadd(key, {**two, b"v": one[b"v"]}, id=second)

    assert [*signed.stream(job)] == []
    assert [f"{token.decode()}: chunk: its signature is wrong" in caplog.text for token in (first, second)] == [
        True
    ] * 2


def test_a_child_does_not_run_with_a_forged_result(signed: Fleet, raw: Any) -> None:
    parent = signed.enqueue(Job("add", "app.add", (1, 2)))
    signed.run_worker(burst=True)
    child = signed.enqueue(Job("total", "app.total", depends_on=[parent]))
    places = signed.context.keys.lane_of(child).parents(child)
    kept = raw.hget(places, parent)
    raw.hset(places, parent, flipped(kept, -1))
    signed.run_worker(burst=True)
    assert [(row.id, row.error_class) for row in signed.dead()] == [(child, "bad-signature")]


def test_an_unknown_key_parks_the_job_until_the_key_arrives(fleet_with: FleetWith, ran: list[Any]) -> None:
    job = fleet_with(keyring=spelled(new=NEW, old=OLD), sign="require").enqueue(Job("note", "app.note", ("x",)))
    late = fleet_with(keyring=spelled(old=OLD), sign="require")
    late.run_worker(burst=True)
    shown = late.poll(job)
    assert (shown.parked_since is not None, ran) == (True, [])
    assert "'new'" in (shown.error or "")
    assert any("'new'" in str(reason) for reason in late.explain(job).reasons)
    ready = fleet_with(keyring=spelled(old=OLD, new=NEW), sign="require")
    ready.reschedule(job, delay=0)
    ready.run_worker(burst=True)
    assert ran == ["x"]
