"""The kinds of payload stores: a folder of our own, and fsspec; and what the references to their objects guarantee."""

from __future__ import annotations

import os
import threading
import uuid
from pathlib import Path
from typing import Any

import fsspec
import pytest
from fsspec.implementations.memory import MemoryFileSystem

from jobfleet import BadSignature, ConfigError, EncodingError, PayloadLost, PayloadUnavailable
from jobfleet.codec import encode_head, open_envelope, seal, seal_record
from jobfleet.codec.frames import BodyElsewhere
from jobfleet.config import JobConfig
from jobfleet.payloads.payloads import (
    Payloads,
    Reference,
    body_of,
    open_store,
    owner_of,
    reference_of,
    with_body,
    without_body,
)
from jobfleet.payloads.store import Folder, PayloadStore, Remote
from tests.trust.conftest import OLD, spelled

JOB = "mail.0.a:b"


@pytest.fixture(params=["folder", "fsspec-file", "fsspec-memory"])
def url(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    return {
        "folder": f"file://{tmp_path}/with%20space/deep",
        "fsspec-file": f"local://{tmp_path}/remote",
        "fsspec-memory": f"memory://{uuid.uuid4()}",
    }[request.param]


@pytest.fixture
def store(url: str) -> PayloadStore:
    return open_store(url)


def payloads(url: str) -> Payloads:
    made = Payloads(JobConfig(payload_store=url, payload_max=10_000))
    identity = made.identity() or made.found()
    made.accept(identity, identity, "")  # as after a look at Redis
    return made


def test_an_object_is_written_listed_read_and_deleted(store: PayloadStore, url: str) -> None:
    assert isinstance(store, Folder if url.startswith("file:") else Remote)
    assert list(store.list("fleet/0a")) == []
    store.put("fleet/0a/one", b"1")
    store.put("fleet/0a/two", b"")
    store.put("fleet/0b/three", b"3")

    assert store.get("fleet/0a/one", most=9) == b"1"
    assert store.get("fleet/0b/three", most=0) == b"3"  # one byte more than it may have
    for name in ("fleet/../../three", "../three"):
        for refused in (lambda: store.get(name, most=9), lambda: store.delete(name), lambda: store.put(name, b"")):  # noqa: B023 - called at once
            with pytest.raises(ValueError, match="is not the name of"):
                refused()
    listed = {found.key: found.modified for found in open_store(url).list("fleet/0a")}
    assert listed.keys() == {"fleet/0a/one", "fleet/0a/two"}
    assert all(abs(at - min(listed.values())) < 600 for at in listed.values())
    store.delete("fleet/0a/one")
    store.delete("fleet/0a/one")
    with pytest.raises(FileNotFoundError):
        store.get("fleet/0a/one", most=9)


def test_a_body_comes_back_in_another_process_of_the_fleet(url: str) -> None:
    envelope = seal({"function": "f", "tags": ["a"], "retry_backoff": 1.5}, ["x" * 5000], {"y": {1: (2,)}})
    sent = payloads(url).stow(JOB, "a", envelope)
    record = payloads(url).stow(JOB, "r", seal_record({"function": "f", "value": [1, 2]}))

    with pytest.raises(BodyElsewhere) as caught:
        open_envelope(sent)
    assert caught.value.header["function"] == "f"
    assert len(sent) < 300
    assert payloads(url).whole(sent) == envelope
    assert payloads(url).whole(record) == seal_record({"function": "f", "value": [1, 2]})
    assert payloads(url).whole(envelope) == envelope


def test_a_key_names_its_job_and_is_never_used_twice(url: str) -> None:
    envelope = seal({"function": "f"}, ["x"])
    references = [reference_of(payloads(url).stow(JOB, "a", envelope)) for _ in range(3)]
    keys = {one.key for one in references if one is not None}

    assert len(keys) == 3
    assert {(owner.job_id, owner.kind) for key in keys if (owner := owner_of(key))} == {(JOB, "a")}
    assert set(payloads(url).owned(JOB)) == keys
    payloads(url).forget(JOB)
    assert list(payloads(url).owned(JOB)) == []


def test_an_object_that_is_gone_or_changed_is_lost(url: str) -> None:
    sent = payloads(url).stow(JOB, "a", seal({"function": "f"}, ["x" * 100]))
    key = next(payloads(url).owned(JOB))
    open_store(url).put(key, b"other bytes")
    with pytest.raises(PayloadLost, match="is damaged: its checksum is wrong"):
        payloads(url).whole(sent)
    open_store(url).delete(key)
    with pytest.raises(PayloadLost, match="is gone from the payload store"):
        payloads(url).whole(sent)


@pytest.mark.parametrize("level", ["sign", "encrypt"])
def test_an_object_in_the_place_of_another_is_not_what_was_sealed(tmp_path: Path, level: str) -> None:
    settings: dict[str, Any] = {"keyring": spelled(old=OLD), level: "require"}
    url = f"file://{tmp_path}"
    payloads(url)
    sealing = Payloads(JobConfig(payload_store=url, **settings))
    sent = sealing.stow(JOB, "a", seal({"function": "f"}, ["mine"]))
    reference = reference_of(sent)
    assert reference is not None
    other = reference._replace(key=reference.key[:-1] + ("0" if reference.key[-1] != "0" else "1"))
    open_store(url).put(other.key, open_store(url).get(reference.key, most=reference.size))
    plain = reference_of(payloads(url).stow(JOB, "a", seal({"function": "f"}, ["forged"])))
    assert plain is not None

    assert sealing.whole(sent) == seal({"function": "f"}, ["mine"])
    with pytest.raises(BadSignature, match="it was changed, or belongs to something else"):
        sealing.fetch(other)
    with pytest.raises(BadSignature, match="this process requires it"):
        sealing.fetch(plain)


def test_another_store_is_not_proof_of_a_loss(url: str, tmp_path: Path) -> None:
    sent = payloads(url).stow(JOB, "a", seal({"function": "f"}, ["x" * 100]))
    other = f"file://{tmp_path}/other"
    with pytest.raises(PayloadUnavailable, match="leads this process to an empty one"):
        Payloads(JobConfig(payload_store=other)).whole(sent)
    payloads(other).stow(JOB, "a", seal({"function": "f"}, ["y"]))
    with pytest.raises(PayloadUnavailable, match=r"leads this process to the store [0-9a-f]{16}: give all processes"):
        payloads(other).whole(sent)


def test_a_store_that_lost_its_identity_takes_nothing(url: str) -> None:
    used = payloads(url)
    used.stow(JOB, "a", seal({"function": "f"}, ["x"]))
    open_store(url).delete(".jobfleet-payloads")

    with pytest.raises(PayloadUnavailable, match="and now leads to an empty one"):
        used.stow(JOB, "a", seal({"function": "f"}, ["x"]))


@pytest.mark.parametrize(
    "key",
    ["/etc/passwd", "../../etc/passwd", "jobfleet/../x", "other/00/mail.0.a~a" + "0" * 32, "jobfleet/00/mail.0.a", ""],
)
def test_a_reference_to_anything_else_reads_nothing(key: str, tmp_path: Path) -> None:
    sent = without_body(seal({"function": "f"}, ["x"]), Reference("s", key, 3, b"d" * 32))

    with pytest.raises(PayloadLost, match="names no payload of this fleet"):
        payloads(f"file://{tmp_path}").whole(sent)


def test_a_reference_to_more_than_the_limit_reads_nothing(tmp_path: Path) -> None:
    reference = Reference("s", "jobfleet/00/mail.0.a~a" + "0" * 32, 10_513, b"d" * 32)

    with pytest.raises(PayloadLost, match=r"has 10,513 bytes, the limit is 10,000; raise the setting payload_max"):
        payloads(f"file://{tmp_path}").fetch(reference)


@pytest.mark.parametrize(
    "row", [None, [], ["s", "k", 1], ["s", "k", -1, b"d" * 32], ["s", "k", 1, b"d"], ["s", 7, 1, b"d" * 32], "text"]
)
def test_a_malformed_reference_is_an_encoding_error(row: object) -> None:
    with pytest.raises(EncodingError, match="its reference is malformed"):
        reference_of(encode_head({"function": "f", "payload": row}))


def test_the_former_bytes_come_back() -> None:
    envelope = seal({"function": "f", "enqueued_at": 7, "metadata": {"a": [1.5, None]}}, [1], {"x": b"2"})
    reference = Reference("s", "k", 1, b"d" * 32)

    assert with_body(without_body(envelope, reference), body_of(envelope)) == envelope


def test_a_reader_sees_a_whole_file_or_none(tmp_path: Path) -> None:
    folder, seen, over = Folder(tmp_path), set[int](), threading.Event()

    def read() -> None:
        while not over.is_set():
            for found in folder.list("fleet"):
                if not found.key.startswith("fleet/.partial-"):
                    seen.add(len(folder.get(found.key, most=1 << 20)))

    reader = threading.Thread(target=read)
    reader.start()
    try:
        for number in range(40):
            folder.put(f"fleet/{number}", os.urandom(1 << 18))
    finally:
        over.set()
        reader.join()

    assert seen <= {1 << 18}
    assert not list(tmp_path.rglob(".partial-*"))


def test_no_bucket_is_made() -> None:
    class Buckets(MemoryFileSystem):  # type: ignore[misc]  # fsspec ships no types
        protocol = "az"

        def makedirs(self, path: str, exist_ok: bool = False) -> None:
            raise AssertionError(path, exist_ok)

    fsspec.register_implementation("az", Buckets, clobber=True)
    store = open_store(f"az://{uuid.uuid4()}/prefix")
    store.put("fleet/0a/one", b"1")

    assert store.get("fleet/0a/one", most=9) == b"1"


def test_an_object_that_is_larger_than_its_reference_is_not_read_whole(
    url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    envelope = seal({"function": "f"}, ["x" * 5000])
    sent = payloads(url).stow(JOB, "a", envelope)
    store, read = open_store(url), list[int]()
    reference = reference_of(sent)
    assert reference is not None
    store.put(reference.key, b"y" * 1_000_000)
    get = type(store).get

    def noted(self: PayloadStore, key: str, *, most: int) -> bytes:
        found: bytes = get(self, key, most=most)
        read.append(len(found))
        return found

    monkeypatch.setattr(type(store), "get", noted)
    with pytest.raises(PayloadLost, match="is damaged"):
        payloads(url).whole(sent)

    assert max(read) == reference.size + 1


def test_a_url_that_nothing_serves_is_a_wrong_setting() -> None:
    with pytest.raises(ConfigError, match=r"^payload_store: nowhere:// cannot be used: Protocol not known: nowhere"):
        open_store("nowhere://x/y")


@pytest.mark.parametrize("url", ["payloads", "/srv/payloads", "file:payloads", "file://srv/payloads", "s3://", "://x"])
def test_a_wrong_url_is_refused_at_once(url: str) -> None:
    with pytest.raises(ConfigError, match=r"payload_store = .*: use "):
        JobConfig(payload_store=url)


def test_a_password_in_the_url_is_not_shown() -> None:
    assert "s3cr3t-word" not in repr(JobConfig(payload_store="sftp://me:s3cr3t-word@host/x"))
