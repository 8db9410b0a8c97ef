"""The server of a simulated run: one real Valkey on a Unix socket, in virtual time.

An exchange blocks the loop, so it takes no virtual time. The text of each script is changed as `jobfleet.testing` does
it, but all of Redis that depends on time goes through one function, which has the time of the simulator:

- TIME, ids of streams and the replication id come from the simulator.
- Lifetimes are absolute times. All clocks start in 2040, so the server itself never expires a key; before each exchange
  a script deletes what has ended in virtual time.
- PUBLISH leaves the message for the simulator.

Pops that block are tried, and tried again after each exchange, in the order in which they came.
"""

from __future__ import annotations

import atexit
import hashlib
import re
import socket
from collections.abc import Callable, Mapping, Sequence
from math import inf
from typing import Any, NamedTuple, cast

import hiredis
import redis
from redis.exceptions import RedisError

from jobfleet.store.call import Command
from jobfleet.store.link.watched import script_of
from jobfleet.store.script import Script, load, names
from tests.simulation.loop import START_US
from tests.support.server import RedisServer

PREFIX = "sim:"
"""Begins the keys of the simulator itself."""
PRELUDE = """\
local redis = (function(real)
  local us, floor, format = nil, math.floor, string.format
  local function now()
    if not us then us = tonumber(real.call('GET', 'sim:us')) end
    return us
  end
  local function special(call, name, key, value, ...)
    if name == 'TIME' then
      return {format('%.0f', floor(now() / 1000000)), format('%.0f', now() % 1000000)}
    elseif name == 'PEXPIRE' or name == 'EXPIRE' then
      local ms = floor(tonumber(value) * (name == 'EXPIRE' and 1000 or 1))
      local at = format('%.0f', floor(now() / 1000) + ms)
      real.call('ZADD', 'sim:ends', at, key)
      return call('PEXPIREAT', key, at, ...)
    elseif name == 'PTTL' or name == 'TTL' then
      local at = call('PEXPIRETIME', key)
      if at < 0 then return at end
      local ms = at - floor(now() / 1000)
      return name == 'PTTL' and ms or floor(ms / 1000 + 0.5)
    elseif name == 'SET' then
      local words, n = {...}, select('#', ...)
      for i = 1, n do
        if words[i] == 'PX' or words[i] == 'EX' then
          local ms = tonumber(words[i + 1]) * (words[i] == 'EX' and 1000 or 1)
          words[i], words[i + 1] = 'PXAT', format('%.0f', floor(now() / 1000) + floor(ms))
          real.call('ZADD', 'sim:ends', words[i + 1], key)
        end
      end
      return call('SET', key, value, unpack(words, 1, n))
    elseif name == 'MSETEX' then
      local words, n = {value, ...}, select('#', ...) + 1
      local at = format('%.0f', floor(now() / 1000) + floor(tonumber(words[n])))
      words[n - 1], words[n] = 'PXAT', at
      for i = 1, 2 * tonumber(key), 2 do real.call('ZADD', 'sim:ends', at, words[i]) end
      return call('MSETEX', key, unpack(words, 1, n))
    elseif name == 'RENAME' then
      local reply = call('RENAME', key, value)
      local at = real.call('PEXPIRETIME', value)
      if at > 0 then real.call('ZADD', 'sim:ends', at, value) end
      return reply
    elseif name == 'HRANDFIELD' then
      local step = select(1, ...) == 'WITHVALUES' and 2 or 1
      local all, found = real.call(step == 2 and 'HGETALL' or 'HKEYS', key), {}
      local most = math.min(math.abs(tonumber(value)), #all / step)
      local first = #all > 0 and floor(now() / 1000) % (#all / step) or 0
      for i = 0, most * step - 1 do found[i + 1] = all[(first * step + i) % #all + 1] end
      return found
    elseif name == 'PUBSUB' then
      local reply, channels = {}, {value, ...}
      for i, channel in ipairs(channels) do
        reply[2 * i - 1], reply[2 * i] = channel, tonumber(real.call('HGET', 'sim:heard-by', channel) or 0)
      end
      return reply
    elseif name == 'XADD' then
      local words, n = {value, ...}, select('#', ...) + 1
      for i = 1, n do
        local word = words[i]
        if word == '*' then words[i] = real.call('GET', 'sim:stream') .. '-*' break end
        if word ~= 'MAXLEN' and word ~= '~' and word ~= '=' and word ~= 'MINID' and word ~= 'NOMKSTREAM'
          and word ~= 'LIMIT' and not tonumber(word) then break end
      end
      return call('XADD', key, unpack(words, 1, n))
    elseif name == 'PUBLISH' then
      real.call('RPUSH', 'sim:heard', key, value)
      return tonumber(real.call('HGET', 'sim:heard-by', key) or 0)
    elseif name == 'INFO' and (key == 'replication' or key == 'server') then
      return '# Server\\r\\nredis_version:7.2.4\\r\\naof_enabled:0\\r\\nrole:master\\r\\nmaster_replid:'
        .. real.call('GET', 'sim:replid') .. '\\r\\n' .. (real.call('GET', 'sim:replicas') or '')
    end
    if value == nil then return call(name, key) end
    return call(name, key, value, ...)
  end
  local is_special = {
    TIME = 1, PEXPIRE = 1, EXPIRE = 1, PTTL = 1, TTL = 1, SET = 1, XADD = 1, PUBLISH = 1, INFO = 1,
    MSETEX = 1, RENAME = 1, HRANDFIELD = 1, PUBSUB = 1,
  }
  return {
    call = function(name, ...)
      if is_special[name] then return special(real.call, name, ...) end
      return real.call(name, ...)
    end,
    pcall = function(name, ...)
      if is_special[name] then return special(real.pcall, name, ...) end
      return real.pcall(name, ...)
    end,
    error_reply = real.error_reply, status_reply = real.status_reply, sha1hex = real.sha1hex, log = real.log,
    setresp = real.setresp, LOG_WARNING = real.LOG_WARNING, LOG_NOTICE = real.LOG_NOTICE,
  }
end)(redis)
"""
SWEEP = b"""\
#!lua flags=allow-oom
redis.call('MSET', 'sim:us', ARGV[1], 'sim:stream', ARGV[2], 'sim:replid', ARGV[3])
local ms = string.sub(ARGV[1], 1, -4)
for _, key in ipairs(redis.call('ZRANGEBYSCORE', 'sim:ends', '-inf', ms, 'LIMIT', 0, 1000)) do
  local at = redis.call('PEXPIRETIME', key)
  if at >= 0 and at > tonumber(ms) then
    redis.call('ZADD', 'sim:ends', at, key)
  else
    if at >= 0 then redis.call('DEL', key) end
    redis.call('ZREM', 'sim:ends', key)
  end
end
"""
OPEN = """\
local open = 0
for _, pattern in ipairs({'{sim:*}:ready:*', '{sim:*}:lease', '{sim:*}:grouped', '{sim}:rescuing'}) do
  for _, key in ipairs(redis.call('KEYS', pattern)) do open = open + redis.call('ZCARD', key) end
end
for _, key in ipairs(redis.call('KEYS', '{sim:*}:outbox')) do open = open + redis.call('XLEN', key) end
return open
"""
INSIDE = """\
local inside = 0
for _, key in ipairs(redis.call('KEYS', '{sim}:inside:*')) do inside = inside + redis.call('ZCARD', key) end
return inside
"""
POP = b"""\
#!lua flags=allow-oom
for _, key in ipairs(KEYS) do
  local found = redis.call('ZPOPMIN', key)
  if found[1] then return {key, found[1], found[2]} end
end
return false
"""
POP_SHA = hashlib.sha1(POP, usedforsecurity=False).hexdigest()
ANYWAY = b"""\
#!lua flags=allow-oom
return redis.call(unpack(ARGV))
"""
ANYWAY_SHA = hashlib.sha1(ANYWAY, usedforsecurity=False).hexdigest()
SWEEP_SHA = hashlib.sha1(SWEEP, usedforsecurity=False).hexdigest()
OWN: list[Command] = [("SCRIPT", "LOAD", SWEEP), ("SCRIPT", "LOAD", POP), ("SCRIPT", "LOAD", ANYWAY)]
HEARD = ("LPOP", PREFIX + "heard", 1000)
FIRST_END = ("ZRANGE", PREFIX + "ends", 0, 0, "WITHSCORES")
PLAIN = frozenset(("EXISTS", "GET", "MGET", "HGETALL", "HGET", "ZRANGE", "ZCARD", "SCRIPT", "XRANGE", "TYPE", "STRLEN"))
"""Commands that stores send as they are, and that do not depend on time."""
_NAME = re.compile(r"^-- ([a-z_]+): ", re.MULTILINE)
_SCRIPTS = frozenset(names())
READERS = frozenset(name for name in _SCRIPTS if load(name).read_only)
ORDERED = ("--hash-max-listpack-value", "1000000", "--hash-max-listpack-entries", "5000")
QUICK = ("--hz", "1", "--latency-tracking", "no", "--slowlog-log-slower-than", "-1")
"""Hashes are lists, so that their fields have the same order in each process."""
UNKNOWN = "unknown"


class Refusal(NamedTuple):
    """What the server answers for a while.

    Attributes:
        text: The reply.
        is_of_writes: Whether only writes get it.
    """

    text: str
    is_of_writes: bool = False


REFUSALS = {
    "loading": Refusal("LOADING Redis is loading the dataset in memory"),
    "clusterdown": Refusal("CLUSTERDOWN The cluster is down"),
    "tryagain": Refusal("TRYAGAIN Multiple keys request during rehashing of slot"),
    "masterdown": Refusal("MASTERDOWN Link with MASTER is down and replica-serve-stale-data is set to 'no'."),
    "busy": Refusal("BUSY Redis is busy running a script. You can only call SCRIPT KILL or SHUTDOWN NOSAVE."),
    "readonly": Refusal("READONLY You can't write against a read only replica.", is_of_writes=True),
    "noreplicas": Refusal("NOREPLICAS Not enough good replicas to write.", is_of_writes=True),
    "misconf": Refusal("MISCONF Errors writing to the AOF file: No space left on device", is_of_writes=True),
}
"""Replies of a server that does not serve now, by the words of plans. This is all that is simulated of a cluster: there
is one server, and no slot of it moves."""
PART = 400
"""Logged exchanges that are sent together when the data of a server is made again."""

_NONE: frozenset[str] = frozenset()
_server: RedisServer | None = None
_client: redis.Redis | None = None


def valkey() -> RedisServer:
    """The server of this Python process; all runs use it, one after the other."""
    global _server  # noqa: PLW0603 - started once, ended with the process
    if _server is None:
        _server = RedisServer("--maxmemory-policy", "noeviction", "--appendonly", "no", *ORDERED, *QUICK)
        atexit.register(_server.stop)
    return _server


class Texts:
    """The texts of scripts as the simulated server gets them, by those that the product sends.

    Args:
        mutants: Scripts, or texts, that replace those of a name.
    """

    def __init__(self, mutants: Mapping[str, Script | str]) -> None:
        self._mutants = mutants
        self._by_sha: dict[Any, tuple[str, bytes, str]] = {}

    def changed(self, command: Command) -> tuple[Command, str]:
        """Return a command with the changed text, and the name of its script; empty for other commands."""
        if not str(command[0]).startswith("EVAL") or command[1] == POP_SHA:
            return command, ""
        by_source = not str(command[0]).startswith("EVALSHA")
        known = self._by_sha.get(command[1]) or self._learned(command[1], by_source=by_source)
        if known is None:
            return command, UNKNOWN  # a text in another form, such as `call.in_order` makes: its source comes next
        name, source, sha = known
        return (command[0], source if by_source else sha, *command[2:]), name

    def name_of(self, command: Command) -> str:
        """The script that a command runs, or the command."""
        return self.changed(command)[1] or str(command[0])

    def _learned(self, text: Any, *, by_source: bool) -> tuple[str, bytes, str] | None:
        if not by_source:
            script = script_of(("EVALSHA", text))
            if script is None:
                return None
            text = script.source
        name = next(found for found in _NAME.findall(text.decode()) if found in _SCRIPTS)
        mutant = self._mutants.get(name)
        line, _, body = text.partition(b"\n")
        if mutant is not None:
            given = mutant.source if isinstance(mutant, Script) else mutant.encode()
            body = given.partition(b"\n")[2] if given.startswith(b"#!") else given
        source = line + b"\n" + PRELUDE.encode() + body
        made = name, source, hashlib.sha1(source, usedforsecurity=False).hexdigest()
        self._by_sha[text] = self._by_sha[hashlib.sha1(text, usedforsecurity=False).hexdigest()] = made
        return made


class Server:
    """Executes commands at a virtual time.

    Args:
        texts: The texts of the scripts.
        now_us: Virtual µs since the start of the run.
        observer: See `world.simulate`.
        publish: Called with the messages of channels, in their order.

    Attributes:
        exchanges: Number of exchanges so far.
        ahead_us: By how much its clock is ahead of virtual time.
        run_id: The id of the server, and of its history.
        refusal: What it answers to writes, or to everything (LOADING).
        lost: How many exchanges that wrote it has lost so far.
    """

    def __init__(
        self,
        texts: Texts,
        now_us: Callable[[], int],
        observer: Callable[[int, str, Sequence[Any], Sequence[Any], Any], None] | None,
        publish: Callable[[bytes, bytes], None],
    ) -> None:
        self._texts, self._now_us, self._observer, self._publish = texts, now_us, observer, publish
        self._socket = socket.socket(socket.AF_UNIX)
        self._socket.connect(str(valkey().socket))
        self._reader = hiredis.Reader(replyError=_error)
        self.exchanges = 0
        self.ahead_us = self.lost = 0
        self.run_id = f"{1:040x}"
        self.refusal = ""
        self.has_memory = True
        self.watched: tuple[str, ...] = ()
        self._watched = self._empty = _NONE
        """Keys that did not exist after the last exchange."""
        self.has_woken = False
        """Whether one of them existed after the last exchange."""
        self._latest_ms = 0
        self._ends_ms = -inf
        """When the first key ends; unknown at first."""
        self._log: list[tuple[bytes, int]] = []
        self.keeps_log = False
        self._replicas = ""
        self._still_at: int | None = None
        self.every(1 << 60, lambda: None)
        self._raw([("CONFIG", "SET", "maxmemory", "0"), ("FLUSHALL",), ("SCRIPT", "FLUSH"), ("FUNCTION", "FLUSH")])
        self._raw(OWN)

    def close(self) -> None:
        """End the connection."""
        if not self.has_memory:
            self.limit_memory(is_full=False)
        self._socket.close()

    def us(self) -> int:
        """The time of its clock."""
        return START_US + self._now_us() + self.ahead_us

    def every(self, exchanges: int, act: Callable[[], object]) -> None:
        """Call something after each so many exchanges."""
        self._every, self._act = exchanges, act

    def count_open(self) -> int:
        """How many jobs are open, and how many endings are not yet known to dependants."""
        return int(self._raw([("EVAL", OPEN, 0)])[0])

    def count_inside(self) -> int:
        """How many runs are within named limits and breakers."""
        return int(self._raw([("EVAL", INSIDE, 0)])[0])

    def execute(self, commands: Sequence[Command]) -> tuple[list[Any], list[str]]:
        """Execute commands of one pipeline; return a reply or an exception for each, and what each was."""
        self.exchanges += 1
        if self.exchanges % self._every == 0:
            self._act()
        us = self.us()
        self._latest_ms = max(self._latest_ms, us // 1000)
        begin = self._begun(us)
        sent: list[Command] = [begin]
        found: list[str] = []
        replies: list[Any] = [None] * len(commands)
        places = []
        for place, command in enumerate(commands):
            changed, script = self._texts.changed(command)
            found.append(script)
            known = self._refused(script) or self._known(command, us)
            if known is None:
                places.append(place)
                sent.append(changed)
            else:
                replies[place] = known
        if not places:  # the simulator has answered everything
            self.has_woken = False
            return replies, [str(command[0]) for command in commands]
        sent += (HEARD, FIRST_END)
        if self.watched:
            sent.append(("EXISTS", *self.watched))
        answered = self._send(_packed(sent), len(sent))
        if isinstance(answered[0], Exception):
            raise answered[0]
        self.has_woken = bool(self.watched and answered.pop())
        self._empty = _NONE if self.has_woken else self._watched
        first = answered.pop()
        self._ends_ms = float(first[1]) if first else inf
        for place, reply in zip(places, answered[1:-1], strict=True):
            replies[place] = reply
        if self.keeps_log:
            self._keep(us, sent, found, places, answered)
        if self._observer is not None:
            self._show(commands, found, replies)
        heard = answered[-1]
        for channel, text in zip(heard[::2], heard[1::2], strict=True) if heard else ():
            self._publish(channel, text)
        return replies, [script or str(command[0]) for script, command in zip(found, commands, strict=True)]

    def _show(self, commands: Sequence[Command], found: list[str], replies: list[Any]) -> None:
        assert self._observer is not None
        at = self._now_us()
        for command, script, reply in zip(commands, found, replies, strict=True):
            if script and script != UNKNOWN:
                count = int(command[2])
                self._observer(at, script, command[3 : 3 + count], command[3 + count :], reply)
        if (after := getattr(self._observer, "after", None)) is not None:
            after(at)

    def ask(self, commands: Sequence[Command]) -> list[Any]:
        """Read as an observer does, who takes no part in the run."""
        return self._raw(commands)

    def _begun(self, us: int) -> Command:
        """What tells the scripts the time, and deletes what has ended, if anything has."""
        if self._ends_ms <= us // 1000 or not self.has_memory:  # MSET would be refused
            return ("EVALSHA", SWEEP_SHA, 0, us, self._latest_ms, self.run_id)
        return ("MSET", "sim:us", us, "sim:stream", self._latest_ms, "sim:replid", self.run_id)

    def _keep(self, us: int, sent: list[Command], found: list[str], places: list[int], answered: list[Any]) -> None:
        """Log what has written, so that it can be done again; what failed has written nothing."""
        kept = [
            command
            for command, place, reply in zip(sent[1:], places, answered[1:], strict=False)
            if not isinstance(reply, Exception)
            and (command[1] == POP_SHA or (found[place] and found[place] not in READERS))
        ]
        if kept:
            sweep = ("EVALSHA", SWEEP_SHA, 0, us, self._latest_ms, self.run_id)
            self._log.append((_packed((sweep, *kept)), 1 + len(kept)))

    def _refused(self, script: str) -> Exception | None:
        found = REFUSALS.get(self.refusal)
        if found is None or (found.is_of_writes and (not script or script in READERS)):
            return None
        return _error(found.text)

    def _known(self, command: Command, us: int) -> Any:
        """The reply to a command that the simulator answers itself; None for others."""
        name = command[0]
        if name == "TIME":
            return [str(us // 1_000_000).encode(), str(us % 1_000_000).encode()]
        if name == "INFO":
            return self.info()
        if name in ("WAIT", "WAITAOF"):
            return int(self.has_replica and self._still_at is None) if name == "WAIT" else [0, 0]
        if name == "PING":
            return b"PONG"
        if name not in PLAIN and not str(name).startswith(("EVAL", "FCALL")):
            raise AssertionError(f"the simulated server does not know {command!r}")
        return None

    def info(self) -> bytes:
        """The INFO that a new connection asks for."""
        role = "slave" if self.refusal == "readonly" else "master"
        text = f"redis_version:7.2.4\r\nrun_id:{self.run_id}\r\nrole:{role}\r\nmaster_replid:{self.run_id}\r\n"
        return f"{text}{self._replicas}aof_enabled:0\r\n".encode()

    def name_of(self, command: Command) -> str:
        """The script that a command runs, or the command."""
        return self._texts.name_of(command)

    def watch(self, keys: Sequence[str]) -> None:
        """Set the keys for which pops block."""
        self.watched, self._watched = tuple(keys), frozenset(keys)

    def pop(self, keys: Sequence[str]) -> list[Any] | None:
        """ZPOPMIN of the first of some keys that exists: key, member, score; None if none does."""
        if self._empty.issuperset(keys):
            return None
        (found,), _ = self.execute([("EVALSHA", POP_SHA, len(keys), *keys)])
        return found if isinstance(found, list) else None

    def listened(self, channel: str, count: int) -> None:
        """Set how many connections are subscribed to a channel."""
        self._raw([("EVALSHA", ANYWAY_SHA, 0, "HSET", PREFIX + "heard-by", channel, count)])

    # --- faults ----------------------------------------------------------------------------------

    @property
    def has_replica(self) -> bool:
        """Whether it has a replica, which confirms what it has."""
        return bool(self._replicas)

    def add_replica(self) -> None:
        """Give it a replica. Nobody notices when that gets no writes."""
        self.keeps_log = True
        self._replicas = "slave0:ip=10.0.0.2,port=6379,state=online,offset=1,lag=0\r\n"
        self._raw([("SET", PREFIX + "replicas", self._replicas)])

    def stop_replication(self) -> None:
        """From now on its replica gets no writes."""
        if self._still_at is None:
            self._still_at = len(self._log)

    def resume_replication(self) -> None:
        """Its replica gets all that it has missed."""
        self._still_at = None

    def fail_over(self, writes: int) -> int:
        """Let a replica take over, which lacks the last writes; return how many were lost.

        A replica that confirms lacks what was written since it gets no writes, and nothing else.
        """
        if self.has_replica:
            writes = 0 if self._still_at is None else len(self._log) - self._still_at
        self.resume_replication()
        return self.lose(writes)

    def forget_scripts(self) -> None:
        """SCRIPT FLUSH."""
        self._raw([("SCRIPT", "FLUSH"), *OWN])

    def limit_memory(self, *, is_full: bool) -> None:
        """Let the memory be full, or have room again."""
        self.has_memory = not is_full
        self._raw([("CONFIG", "SET", "maxmemory", "1" if is_full else "0")])

    def lose(self, writes: int) -> int:
        """Restart with other ids, and without the last writes; return how many were lost.

        The data is made again from the log of all exchanges, because a script gives the same result each time.
        """
        self.run_id = f"{int(self.run_id, 16) + 1:040x}"
        self._empty = _NONE
        lost = min(writes, len(self._log))
        if not lost:
            self.forget_scripts()
            return 0
        self.lost += lost
        del self._log[len(self._log) - lost :]
        is_full = not self.has_memory
        self.limit_memory(is_full=False)
        self._raw([("FLUSHALL",), ("SCRIPT", "FLUSH"), *OWN])
        for at in range(0, len(self._log), PART):
            part = self._log[at : at + PART]
            self._send(b"".join([packed for packed, _ in part]), sum(count for _, count in part))
        self._raw([("DEL", PREFIX + "heard", PREFIX + "heard-by"), ("SET", PREFIX + "replicas", self._replicas)])
        self._ends_ms = -inf
        self.forget_scripts()
        self.limit_memory(is_full=is_full)
        return lost

    # --- the connection --------------------------------------------------------------------------

    def raw_client(self) -> redis.Redis:
        """A plain client, to read the state at the end; one for all runs."""
        global _client  # noqa: PLW0603 - opened once, closed with the server
        if _client is None:
            _client = valkey().client()
        return _client

    def _raw(self, commands: Sequence[Command]) -> list[Any]:
        replies = self._send(_packed(commands), len(commands))
        for reply in replies:
            if isinstance(reply, Exception):
                raise reply
        return replies

    def _send(self, packed: bytes, count: int) -> list[Any]:
        self._socket.sendall(packed)
        replies: list[Any] = []
        get, feed, receive = self._reader.gets, self._reader.feed, self._socket.recv
        while len(replies) < count:
            reply = get()
            if reply is False:
                feed(receive(1 << 16))
            else:
                replies.append(reply)
        return replies


def _packed(commands: Sequence[Command]) -> bytes:
    pack: Callable[[Command], bytes] = cast(Any, hiredis.pack_command)
    return b"".join([pack(command) for command in commands])


def _error(text: str) -> RedisError:
    """The exception of redis-py for an error reply."""
    from redis._parsers.base import BaseParser  # the only place that knows them all

    found: RedisError = cast(Any, BaseParser).parse_error(text)
    return found
