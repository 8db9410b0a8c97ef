"""The world of a case: a lane, seeds, one way to run calls, and the whole state after them.

A floor says who runs the calls: everybody's friend, a user that may touch only what the script's
header declares, or a server where a key of another slot is refused.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from itertools import chain
from typing import Any, TypeVar

import redis

from jobfleet.store.call import ANSWER, Call, Command
from jobfleet.store.calls.control import listen
from jobfleet.store.damage import tag_of
from jobfleet.store.keys import Keyspace, Lane
from jobfleet.store.link.sync import Link
from jobfleet.store.script import Script, load, names
from jobfleet.store.sync import Store
from tests.support.seed import Seed
from tests.support.state import State, after, moment, state
from tests.support.whole import WholeCluster

T = TypeVar("T")
Grant = Callable[[Call[Any]], None]

KEYS = Keyspace("jf")
LANE = KEYS.lane("mail", 0)
USER, PASSWORD = "granted", "opensesame"


class Eavesdropper:
    """A link that remembers what each script answered."""

    def __init__(self, link: Link, heard: dict[str, list[Any]]) -> None:
        self._link = link
        self._heard = heard
        self._scripts: dict[Any, str] = {load(name).sha: name for name in names()}
        self._scripts |= {load(name).source: name for name in names()}

    def exchange(self, commands: Sequence[Command]) -> list[Any]:
        """Pass on, and listen."""
        replies = self._link.exchange(commands)
        for command, reply in zip(commands, replies, strict=True):
            if name := self._scripts.get(command[1] if len(command) > 1 else ""):
                self._heard.setdefault(name, []).append(reply)
        return replies

    def exchange_as_made(self, parts: Iterator[Sequence[Command]]) -> list[Any]:
        """Pass on as one, and listen."""
        return self.exchange(list(chain.from_iterable(parts)))

    def greet(self, *, leaves: bool) -> Mapping[str, str] | BaseException:
        """What the server of a new connection says of itself."""
        return self._link.greet(leaves=leaves)

    def close(self) -> None:
        """Let the connections go."""
        self._link.close()


@dataclass
class World:
    """What a case works with.

    Attributes:
        store: Runs calls, as the floor's user.
        raw: Looks and seeds, and may do anything.
        grant: Is told of each call before it runs.
    """

    store: Store
    raw: redis.Redis
    grant: Grant = lambda _: None
    keys: Keyspace = KEYS
    lane: Lane = LANE
    seed: Seed = field(init=False)
    before: State = field(init=False, default_factory=dict)

    def __post_init__(self) -> None:
        self.seed = Seed(self.raw, self.lane)

    @property
    def now(self) -> int:
        """The moment of the seed, µs."""
        return self.seed.now

    def run(self, call: Call[T]) -> T:
        """Run a call; the state before it is kept."""
        self.before = self.state()
        return self.go(call)

    def go(self, call: Call[T]) -> T:
        """Run a call, without a look at the state before it."""
        longer = call.instead
        if longer is not None:
            call = call._replace(instead=lambda: self._granted(longer()))
        return self.store.run(self._granted(call))

    def _granted(self, call: Call[T]) -> Call[T]:
        self.grant(call)
        return call

    def again(self, call: Call[T]) -> T:
        """Run a call once more, as if its reply was lost, and see that nothing changes."""
        answer = self.run(call)
        assert self.state() == self.before
        return answer

    def refused(self, call: Call[T]) -> T:
        """Run a call that must change nothing at all."""
        return self.again(call)

    def state(self) -> State:
        """The whole state, without the mark that `listening` leaves, and without answers kept for repetitions."""
        whole = state(self.raw, self.keys, now=self.now)
        return {
            name: value
            for name, value in whole.items()
            if not (name == "listeners" and isinstance(value, str)) and not name.startswith(ANSWER)
        }

    def moved(self, changes: Mapping[str, Any]) -> State:
        """The state before the last call, with changes; None for a key that is gone."""
        return after(self.before, changes)

    def allow(self, *rules: str) -> None:
        """Change which commands the scripts' user may run, as `ACL SETUSER` has it.

        A command that the server does not have cannot be run anyway; the server refuses a rule that names it.
        """
        execute: Any = self.raw.execute_command
        try:
            execute("ACL", "SETUSER", USER, *rules)
        except redis.ResponseError as error:
            if "Unknown command" not in str(error):
                raise

    def time(self, at: int) -> str:
        """A moment's name."""
        return moment(at, self.now)

    def id(self, suffix: str) -> str:
        """A job's id."""
        return self.seed.id(suffix)

    @contextmanager
    def listening(self, *ids: str) -> Iterator[list[tuple[str, str]]]:
        """Listen to the lane, to the jobs named and to the fleet's control; fills with (channel, text) at the end.

        Tokens and times of the seed's moment read `now`.
        """
        heard: list[tuple[str, str]] = []
        channels = [self.lane.events, self.keys.control, *[self.lane.job_events(job_id) for job_id in ids]]
        raw: Any = self.raw
        with raw.pubsub() as ear:
            ear.subscribe("end", *channels)
            for _ in range(len(channels) + 1):
                ear.get_message(timeout=5)
            self._until_now(ear)  # on a cluster, earlier messages may still be on their way
            self.go(listen(self.lane))
            self.raw.persist(self.lane.listeners)
            yield heard
            self.raw.delete(self.lane.listeners)
            heard += self._until_now(ear)

    def _until_now(self, ear: Any) -> list[tuple[str, str]]:
        """Receive what was sent until now, by each of the two nodes that send: they know no common order."""
        heard: list[tuple[str, str]] = []
        end: Any = self.raw.eval
        ends = [end("redis.call('PUBLISH', 'end', '')", 1, key) for key in (self.lane.listeners, self.keys.queues)]
        while ends and (message := ear.get_message(timeout=5)) is not None:
            if message["channel"] == b"end":
                ends.pop()
            else:
                heard.append((self._channel(message["channel"]), self._text(message["data"])))
        return heard

    @property
    def is_whole_cluster(self) -> bool:
        """Whether the calls run on a cluster of several nodes, whatever the floor."""
        return isinstance(self.raw, WholeCluster)

    def info(self, *sections: str, key: str | None = None) -> dict[str, Any]:
        """What INFO tells at the server, or at the node of a cluster that has a key: by default, one of the fleet's."""
        raw: Any = self.raw
        if not self.is_whole_cluster:
            return dict(raw.info(*sections))
        return dict(raw.info(*sections, target_nodes=raw.get_node_from_key(key or self.keys.queues)))

    def _channel(self, name: bytes) -> str:
        return name.decode().removeprefix(self.lane.tag).removeprefix(self.keys.tag)

    def _text(self, data: bytes) -> str:
        text = re.sub(r"\d{16}", lambda match: self.time(int(match[0])), data.decode())
        return text.replace(self.lane.id_prefix, "")


def granting(raw: redis.Redis) -> Grant:
    """Before each call, let the user `granted` reach what the script's header declares, and nothing else.

    KEYS are granted by their very names, READS as patterns; a script that writes nothing may not write its KEYS.
    Commands are free but for the dangerous ones, of which `INFO` is needed (claim reads the primary's run id).
    """
    execute: Any = raw.execute_command
    execute("ACL", "SETUSER", USER, "reset", "on", f">{PASSWORD}", "+@all", "-@dangerous", "+info", "&*")

    def grant(call: Call[Any]) -> None:
        tag = tag_of(call.keys[0])
        own = "%R~" if call.script.read_only else "~"
        reads = [re.sub(r"<[a-z]+>", "*", name) for name, _, _ in call.script.header.reads]
        keys = [key if isinstance(key, bytes) else key.encode() for key in call.keys]
        rules: list[str | bytes] = [own.encode() + key for key in keys]
        rules += [f"~{tag}{ANSWER}*"] if call.script.is_once else []
        rules += [f"%R~{tag}{name}" for name in reads]
        execute("ACL", "SETUSER", USER, "resetkeys", *rules)

    return grant


def mutated(script: Script, old: str, new: str) -> Script:
    """A script in which one place reads otherwise: what a judge must find fault with."""
    text = script.plain.decode()
    assert text.count(old) == 1, f"{old!r} stands {text.count(old)} times in {script.name}.lua"
    plain = text.replace(old, new).encode()
    source = script.source.removesuffix(script.plain) + plain
    return replace(script, source=source, plain=plain, sha=hashlib.sha1(source, usedforsecurity=False).hexdigest())
