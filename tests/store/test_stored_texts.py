"""Texts that a foreign client has stored: each reader in Lua answers soon, however long or nested they are."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
import redis
from redis.backoff import NoBackoff
from redis.retry import Retry

from jobfleet.store.calls.control import trim
from jobfleet.store.calls.enqueue import in_full
from jobfleet.store.keys import Keyspace
from jobfleet.store.records import Entry
from jobfleet.store.sync import Store
from jobfleet.store.target import target
from tests.support.lua import library
from tests.support.server import RedisServer

SECONDS = 10.0
"""More than any reader needs; a pattern that tries every way to split a text would need hours."""
LONG = 1_000_000
READERS = {
    "a lock of digits": ("job/unique", "lock_of(text).id", "1" * LONG + " b c d e", b""),
    "a lock of the longest length": ("job/unique", "lock_of(text).id", "1" * 280 + " b c d e", b""),
    "a lock": ("job/unique", "table.concat({lock_of(text).id, lock_of(text).till, lock_of(text).last}, ',')",
               "mail.0.a 5 6 mail.0.b", b"mail.0.a,5,mail.0.b"),
    "a lock without numbers": ("job/unique", "lock_of(text).id", "mail.0.a", b"mail.0.a"),
    "a letter's place": ("dead/filed", "entry_in(text) or ''", "a\n" + "0" * LONG + "-" + "0" * LONG, b""),
    "a letter's padded place": ("dead/filed", "entry_in(text)", "a\n00000000000012-000000\nmail.0.a", b"12-0"),
    "a rate": ("gate/gate", "#rows_of(text, 1, 68, 0)", "1:" + "1" * LONG + "x", 0),
    "an answer": ("base/answer", "answer_of(text)[2][1]", "s1:at4:n1:7", 7),
    "an answer that is cut": ("base/answer", "tostring(answer_of(text))", "s9:a", b"nil"),
    "an answer of garbage": ("base/answer", "tostring(answer_of(text))", "t" * LONG, b"nil"),
}  # fmt: skip


@pytest.fixture
def server() -> Iterator[RedisServer]:
    """A server that is killed afterwards, because a reader that does not end would let no other test have it."""
    own = RedisServer()
    yield own
    own.kill()
    own.stop()


def client_of(server: RedisServer) -> redis.Redis:
    """A client that gives up after `SECONDS`, and does not try again."""
    return redis.Redis(unix_socket_path=str(server.socket), socket_timeout=SECONDS, retry=Retry(NoBackoff(), 0))


def nested(depth: int) -> str:
    """The text of an answer in an answer, and so on."""
    text = ""
    for _ in range(depth):
        text = f"t{len(text)}:{text}"
    return text


def test_a_reader_answers_for_any_text(server: RedisServer) -> None:
    readers = {
        **READERS,
        "an answer nested deeply": ("base/answer", "tostring(answer_of(text))", nested(20_000), b"nil"),
    }
    with client_of(server) as client:
        found = {}
        for what, (name, result, text, _) in readers.items():
            source = f"{library(name)}\nlocal text = ARGV[1]\nreturn {result}"
            found[what] = client.eval(source, 0, text)

    assert found == {what: expected for what, (*_, expected) in readers.items()}


def test_a_damaged_lock_holds_no_key_and_stops_no_script(server: RedisServer) -> None:
    lane = Keyspace("jf").lane("mail", 0)
    with client_of(server) as client:
        client.hset(lane.unique, "k", "1" * 1200 + " b c d e")
        client.zadd(lane.locks, {"k": 0})
        store = Store(target(server.url), patience=SECONDS)
        try:
            trimmed = store.run(trim(lane, done_before_ms=0, dead_before_ms=0, dead_max=100))
            created = store.run(in_full(lane, [Entry("mail.0.a", 1, "", "u k", b"e")]))
        finally:
            store.close()
        held = client.hget(lane.unique, "k")

    assert (trimmed, created) == ((0, 0, False), [True])
    assert held is not None
    assert held.startswith(b"mail.0.a 0 ")
