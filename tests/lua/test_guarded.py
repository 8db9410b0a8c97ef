"""Requests that come late or twice: every script that writes says why neither does harm, or does nothing then."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import closing
from itertools import chain
from typing import Any

import pytest
import redis

from jobfleet.store.call import Command
from jobfleet.store.link.sync import Link, SocketLink
from jobfleet.store.script import load, names
from jobfleet.store.sync import Store
from jobfleet.store.target import target
from tests.lua.cases import NOUNS, cases, scripts_of
from tests.lua.samples import SAMPLES
from tests.lua.world import World
from tests.support.each import each, see_each
from tests.support.state import exact, server_now

WRITING = [name for name in names() if not load(name).read_only]
GUARDED = [name for name in WRITING if load(name).has_deadline]
ONCE = [name for name in WRITING if load(name).is_once]
SAFE_WHEN_LATE = {
    "block": "the job's id; a guard keeps it until all is there, and the sweep lets one go whose producer gave up",
    "block_many": "as block; a job without a guard waits for one that has a guard, or for one that waits so",
    "bury": "a child's id is never used again, so a dead one stays dead",
    "claim": "its nonce: an older one is stale, the same one answers the same grants, a buried child gets nothing",
    "deliver": "it names the attempt; only a success counts for an older one, and that has happened",
    "drop_letters": "a copy is of use only before its job starts, and it is dropped after that",
    "emit_chunks": "each chunk has its number, the run its token",
    "enqueue_plain": "the job's id: one that is there, or was, is not made again; it is ordered after nothing",
    "file_letters": "it names the mark that it moves, which only moves on",
    "found_store": "the first identity that is recorded stays",
    "follow": "whoever waits for a moved job waits for the other one; asked again it does so already",
    "gather": "a mark for each notice, which is taken in once",
    "keep_letters": "it names the entry of the letter that it copies",
    "keep_parents": "it only makes lifetimes longer, and leaves jobs that have ended when it runs",
    "leave": "a worker's id is never used again",
    "ledger": "the first note on a fire stands",
    "listen": "a mark of a minute, which only asks for events",
    "log": "each line has its number, the run its token",
    "mark": "it writes the same value each time",
    "mend": "it moves only what is still of the wrong type, or has still the value that was seen",
    "note_groups": "it keeps the earliest and the latest time; a group comes back once for each time it was resolved",
    "note_rescue": "a job is counted when it leaves the set; a state only goes on",
    "plan_rescue": "it names the number of the step",
    "note_outcomes": "it names the record as it was read; a second run finds its own, and writes nothing",
    "note_times": "it names the entry as it was read; one that has changed since is noted again",
    "progress": "each report has its number, the run its token",
    "renew": "the token: it extends only what the same run still holds, by one lease at most",
    "release_lock": "a holder's number is never used again in its run",
    "repair": "each repair checks again, when it runs, that the contradiction is there",
    "retire": "it names moments; whoever ended before them, and is open again or awaited when it runs, stays",
    "set_back": "it sets back only what is later than the time that it names, by which it is due again",
    "settle": "a run's token, and the trip's nonce",
    "shorten_parents": "it leaves jobs that are open when it runs",
    "stop": "each stage has its number, the run its token",
    "sweep": "it forgets only jobs of which nothing is known when it runs",
    "tick": "it goes by the clock of the moment in which it runs",
    "trim": "it names moments; later there is no more to let go before them",
    "trim_journal": "it lets go what all have acknowledged when it runs",
    "unblock": "an edge is told once; one that is gone is not told",
    "unwatch_many": "it names records of the outbox, and one ending each",
    "unwatch": "it names one record of the outbox, and one ending",
    "watch": "an ending is told to whoever waits; who does not wait any more is passed over",
}
"""Scripts that write and have no deadline: why one that arrives late, or twice, does no harm."""


def test_every_script_that_writes_has_a_deadline_or_says_why_it_needs_none() -> None:
    assert sorted(SAFE_WHEN_LATE) == sorted(set(WRITING) - set(GUARDED))
    assert set(ONCE) <= set(GUARDED)
    assert not any(load(name).has_deadline for name in set(names()) - set(WRITING))


@each("name", GUARDED)
def test_after_its_deadline_it_does_nothing(name: str, raw: redis.Redis) -> None:
    call = SAMPLES[name].named()
    command = call.by_source(until=1)

    assert raw.execute_command(*command) == [b"too-late"]  # type: ignore[no-untyped-call]
    assert exact(raw, 0) == {}


class Repeating:
    """A link that sends every command of a script that answers once, and was answered, a second time."""

    def __init__(self, link: Link, raw: redis.Redis) -> None:
        self._link = link
        self._raw = raw
        self._once = {part for name in ONCE for part in (load(name).sha, load(name).source)}
        self.repeated = 0

    def exchange(self, commands: Sequence[Command]) -> list[Any]:
        """Pass on, and see that a repetition is answered alike and changes nothing."""
        replies = self._link.exchange(commands)
        for command, reply in zip(commands, replies, strict=True):
            if len(command) > 1 and command[1] in self._once and not isinstance(reply, BaseException):
                now = server_now(self._raw)
                before = exact(self._raw, now)
                assert self._link.exchange([command]) == [reply]
                assert exact(self._raw, now) == before
                self.repeated += 1
        return replies

    def exchange_as_made(self, parts: Iterator[Sequence[Command]]) -> list[Any]:
        """Pass on as one."""
        return self.exchange(list(chain.from_iterable(parts)))

    def greet(self, *, leaves: bool) -> Mapping[str, str] | BaseException:
        """What the server of a new connection says of itself."""
        return self._link.greet(leaves=leaves)

    def close(self) -> None:
        """Let the connections go."""
        self._link.close()


@pytest.mark.not_on("cluster", reason="a link to one server sends each call twice")
@pytest.mark.parametrize("noun", [noun for noun in NOUNS if scripts_of(noun, ONCE)])
def test_a_repetition_of_the_same_call_is_answered_alike_and_changes_nothing(
    noun: str, redis_url: str, raw: redis.Redis
) -> None:
    at = target(redis_url)

    def look(name: str) -> None:
        link = Repeating(SocketLink(at, connect_timeout=5, socket_timeout=5), raw)
        with closing(Store(at, link=link)) as store:
            for case in cases(name):
                raw.flushall()
                case.run(World(store, raw))
        assert link.repeated > 0

    see_each("script", scripts_of(noun, ONCE), look)


def test_an_answer_is_remembered_for_a_minute_and_not_for_ever(redis_url: str, raw: redis.Redis) -> None:
    store = Store(target(redis_url), patience=2.0)

    store.run(SAMPLES["pause"])

    store.close()
    (key,) = raw.keys("*answer:*")
    assert 50_000 < raw.pttl(key) <= 60_000
