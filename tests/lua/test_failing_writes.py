"""Each write command of each script fails in turn, in the states of the script's own cases.

The text of the script is changed: one place calls a command that Redis refuses, as it refuses one on a key of a wrong
type or on a stream that cannot go on. A new script, and a new command in one, is tried without being named here.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from contextlib import suppress
from functools import cache
from itertools import chain
from typing import Any, NamedTuple

import pytest
import redis

from jobfleet.store.acl import KEYLESS, READING, STRINGS_WRITTEN, WHOLE
from jobfleet.store.call import ANSWER, Command
from jobfleet.store.link.sync import Link
from jobfleet.store.script import Script, load, names
from jobfleet.store.sync import Store
from jobfleet.store.target import target
from tests.lua.cases import NOUNS, cases, scripts_of
from tests.lua.world import KEYS, World
from tests.support.each import see_each
from tests.support.state import State, server_now, state

WRITING = [name for name in names() if not load(name).read_only]
CALLED = re.compile(r"(?<![\w.])(redis\.call|redis\.pcall|call)\('([A-Z]+)'(?:, '([A-Z]+)')?")
FAILS = """
local function hit(site, f, ...)
  if site == '{site}' then return f('GET') end
  return f(...)
end
"""
TELLS = """
local function hit(site, f, command, key, ...)
  local of = (command == 'XGROUP' or command == 'XINFO') and ... or key
  redis.call('PUBLISH', 'hits', site .. ' ' .. command .. ' ' .. (of or ''))
  if key then return f(command, key, ...) end
  return f(command)
end
"""
MOST_CALLS = 40
"""Calls of a script that are tried."""
JOBS = re.compile(r"ready:\d|lease|runs|meta|tries|unique|watched|dead|(?:job|result|value|parents):.*")
"""Keys that must be after a second attempt as if nothing had failed. Others may count or list something twice."""
OF_ANY_TYPE = {*STRINGS_WRITTEN, *WHOLE, "EXISTS", "TYPE", "PTTL", "MGET", "STRLEN"}
"""Commands that no type of a key makes fail."""


class Site(NamedTuple):
    """A write command in the text of a script.

    Attributes:
        number: Its number among the commands of the script.
        command: The command.
    """

    number: int
    command: str


class Tried(NamedTuple):
    """How the script left the state when a write failed.

    Attributes:
        script: The script.
        site: The write.
        before: The state before it.
        clean: The state after the whole script.
        once: The state after the attempt that failed.
        twice: The state after a second attempt in which it failed again.
        healed: The state after a second attempt in which it did not fail.
    """

    script: str
    site: Site
    before: State
    clean: State
    once: State
    twice: State
    healed: State


@cache
def sites(name: str) -> tuple[Site, ...]:
    """Return the write commands of a script, those of its includes among them."""
    found = [*CALLED.finditer(load(name).plain.decode())]
    return tuple(
        Site(number, match[2])
        for number, match in enumerate(found)
        if not {match[2], f"{match[2]}|{match[3]}"} & (READING | KEYLESS)
    )


def changed(script: Script, prelude: str) -> bytes:
    """Return the source of a script in which each command asks the prelude first."""
    number = iter(range(10_000))
    body = CALLED.sub(lambda match: f"hit('{next(number)}', {match[0].replace('(', ', ', 1)}", script.plain.decode())
    return script.source.removesuffix(script.plain) + prelude.encode() + body.encode()


class Failing:
    """A link that tries each write of a script at its calls, and then lets the call do what it should.

    Args:
        link: The link to the server.
        raw: A client that may do anything.
        script: The script.
    """

    def __init__(self, link: Link, raw: redis.Redis, script: Script) -> None:
        self._link, self._raw, self._script = link, raw, script
        self.left = {str(site.number): site for site in sites(script.name)}
        self.reached: set[str] = set()
        self._calls = 0
        self.tried: list[Tried] = []

    def exchange(self, commands: Sequence[Command]) -> list[Any]:
        """Send commands one by one."""
        return [self._answer(command) for command in commands]

    def exchange_as_made(self, parts: Iterator[Sequence[Command]]) -> list[Any]:
        """Send commands one by one."""
        return self.exchange(list(chain.from_iterable(parts)))

    def greet(self, *, leaves: bool) -> Mapping[str, str] | BaseException:
        """Ask the server."""
        return self._link.greet(leaves=leaves)

    def close(self) -> None:
        """Close the connection."""
        self._link.close()

    def _answer(self, command: Command) -> Any:
        if len(command) < 2 or command[1] not in (self._script.sha, self._script.source):
            return self._sent(command)
        if self.left and self._calls < MOST_CALLS:
            self._calls += 1
            saved = self._saved()
            for number in self._hits(command):
                self._restore(saved)
                self._try(self.left.pop(number), command, saved)
            self._restore(saved)
        return self._sent(("EVAL", self._script.source, *command[2:]))

    def _hits(self, command: Command) -> list[str]:
        """Run the script once, and return the untried writes of it that may fail.

        A write may fail if no command before it has used its key as what it should be, or if it adds to a stream.
        """
        raw: Any = self._raw
        with raw.pubsub() as ear:
            ear.subscribe("hits")
            ear.get_message(timeout=5)
            self._sent(("EVAL", changed(self._script, TELLS), *command[2:]))
            self._raw.publish("hits", "end")
            heard: list[list[bytes]] = []
            while (message := ear.get_message(timeout=5)) and message["data"] != b"end":
                heard.append(message["data"].split(b" ", 2))
        used: set[bytes] = set()
        fallible: dict[str, None] = {}
        for number, verb, key in heard:
            may_fail = verb == b"XADD" or (key not in used and verb.decode() not in OF_ANY_TYPE)
            if (place := number.decode()) in self.left:
                self.reached.add(place)
                fallible |= {place: None} if may_fail else {}
            used |= {key} if verb.decode() not in OF_ANY_TYPE else set()
        return [*fallible]

    def _try(self, site: Site, command: Command, saved: dict[bytes, tuple[bytes, int]]) -> None:
        now = server_now(self._raw)
        bad = ("EVAL", changed(self._script, FAILS.format(site=site.number)), *command[2:])
        before = self._state(now)
        self._sent(("EVAL", self._script.source, *command[2:]))
        clean = self._state(now)
        self._restore(saved)
        self._sent(bad)
        once = self._state(now)
        kept = self._saved()
        self._sent(self._again(bad))
        twice = self._state(now)
        self._restore(kept)
        self._sent(self._again(("EVAL", self._script.source, *command[2:])))
        self.tried.append(Tried(self._script.name, site, before, clean, once, twice, self._state(now)))

    def _again(self, command: Command) -> Command:
        """Return the command of a second attempt."""
        if self._script.anyway is None:
            return command
        at = 3 + int(command[2]) + self._script.anyway
        return (*command[:at], 1, *command[at + 1 :])

    def _sent(self, command: Command) -> Any:
        return self._link.exchange([command])[0]

    def _state(self, now: int) -> State:
        whole = state(self._raw, KEYS, now=now)
        return {name: value for name, value in whole.items() if not name.startswith((ANSWER, "sent:", "claim:"))}

    def _saved(self) -> dict[bytes, tuple[bytes, int]]:
        raw: Any = self._raw
        return {key: (raw.dump(key), max(0, raw.pttl(key))) for key in raw.keys("*")}

    def _restore(self, saved: dict[bytes, tuple[bytes, int]]) -> None:
        self._raw.flushdb()
        for key, (dump, ttl) in saved.items():
            self._raw.restore(key, ttl, dump)


def lanes(whole: State) -> dict[str, State]:
    """Return the keys of each lane."""
    found: dict[str, State] = {}
    for name, value in whole.items():
        lane, _, rest = name.rpartition("/") if re.match(r"[a-z]+:\d/", name) else ("", "", name)
        found.setdefault(lane, {})[rest] = value
    return found


def waiting(lane: State) -> set[str]:
    return {job_id for band in range(4) for job_id in _of(lane, f"ready:{band}") if f"job:{job_id}" in lane}


def _of(lane: State, name: str) -> dict[str, str]:
    value = lane.get(name)
    return value if isinstance(value, dict) else {}


def over(lane: State) -> dict[str, str]:
    """Return the runs that have a result with their token."""
    found = {}
    for job_id, run in _of(lane, "runs").items():
        result = lane.get(f"result:{job_id}", "")
        words = (result[0] if isinstance(result, tuple) else result).split(None, 3)
        if len(words) > 2 and words[2] == run.partition("|")[0]:
            found[job_id] = run
    return found


def known(lane: State) -> set[str]:
    """Return the jobs that a lane has: waiting, running, ended or dead."""
    running = {job_id for job_id in _of(lane, "runs") if f"job:{job_id}" in lane}
    ended = {name.removeprefix("result:") for name in lane if name.startswith("result:")}
    return waiting(lane) | running | ended | set(_of(lane, "dead"))


def faults(tried: Tried) -> Iterator[str]:
    """Tell what is wrong in the states after a write has failed."""
    for lane, before in lanes(tried.before).items():
        clean = lanes(tried.clean).get(lane, {})
        gone = known(before) - known(clean)
        for when in ("once", "twice", "healed"):
            found = lanes(getattr(tried, when)).get(lane, {})
            for job_id in sorted(known(before) - gone - known(found)):
                yield f"{when}: {job_id} is lost"
            ended = set(over(found)) - set(over(before))
            if when != "twice" or tried.script != "settle":  # a reaper ends these; see tests/lua/settle
                for job_id in sorted(ended):
                    yield f"{when}: {job_id} has a result, and its run is there"
        if tried.script == "settle":
            found = lanes(tried.twice).get(lane, {})
            settled = set(_of(before, "runs")) - set(_of(clean, "runs")) - waiting(clean)
            for job_id in sorted(settled & set(_of(found, "runs")) - set(over(found))):
                yield f"twice: {job_id} will run again"
    for name in sorted(tried.clean.keys() | tried.healed.keys()):
        if JOBS.fullmatch(name.rpartition("/")[2]) and tried.clean.get(name) != tried.healed.get(name):
            yield f"healed: {name} is {tried.healed.get(name)!r}, not {tried.clean.get(name)!r}"


@pytest.mark.parametrize("noun", [noun for noun in NOUNS if scripts_of(noun, WRITING)])
def test_no_job_is_lost_or_run_again_when_a_write_fails(noun: str, redis_url: str, raw: redis.Redis) -> None:
    see_each("script", scripts_of(noun, WRITING), lambda name: _fail_each_write(name, redis_url, raw))


def _fail_each_write(name: str, redis_url: str, raw: redis.Redis) -> None:
    at = target(redis_url)
    whole = Store(at, patience=5.0)
    link = Failing(whole.link, raw, load(name))
    store = Store(at, patience=5.0, link=link)
    for case in cases(name):
        if link.left:
            raw.flushall()
            with suppress(AssertionError):  # it hears the calls that were tried, too
                case.run(World(store, raw))
    store.close()
    found = {f"{one.site.number} {one.site.command}": [*faults(one)] for one in link.tried}
    assert link.reached or not sites(name), "no case reaches a write"
    assert {site: wrong for site, wrong in found.items() if wrong} == {}
