"""Scripts with a shifted clock: the text of each script that reads Redis's time reads it plus an offset.

Redis's TIME cannot be set. All scripts of jobfleet read it through one command, so their text is changed for a test
before it is sent: the time is TIME plus the number in one key of the test's namespace. The package itself has no such
text, and the key has no effect on its scripts.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Sequence
from typing import Any

from jobfleet import clock
from jobfleet.store.call import Argument, Command
from jobfleet.store.link.watched import known, script_of
from jobfleet.store.script import Script
from jobfleet.store.trip import ASK

_TIME = "redis.call('TIME')"
_STREAM_ID = re.compile(r"(redis\.call\('XADD', [^\n]*?)'\*'")
_CLOCK = """\
local function kit_us()
  local time = redis.call('TIME')
  return tonumber(time[1]) * 1000000 + tonumber(time[2]) + tonumber(redis.call('GET', '%s') or '0')
end
local function kit_time()
  local us = kit_us()
  return {string.format('%%.0f', math.floor(us / 1000000)), string.format('%%.0f', us %% 1000000)}
end
local function kit_stream_id() return string.format('%%.0f-*', math.floor(kit_us() / 1000)) end
"""


class ShiftedClock:
    """The clock of a test: Redis's clock plus an offset.

    Args:
        key: The key of the offset.

    Attributes:
        key: The same.
        ahead_us: The offset in microseconds; 0 until the clock is moved. Scripts are changed from then on.
    """

    def __init__(self, key: str) -> None:
        self.key: str = key
        self.ahead_us: int = 0
        self._changed: dict[str, tuple[bytes, bytes, str]] = {}

    def moved(self, ahead_us: int) -> list[Command]:
        """Set the offset; return the commands that make the server know it, and the changed scripts the first time."""
        first = self.ahead_us == 0
        self.ahead_us = ahead_us
        clock.ahead_us = ahead_us
        load: list[Command] = []
        if first:
            load = [("SCRIPT", "LOAD", self._texts(script)[0]) for script in known() if self._texts(script)[2]]
        return [("SET", self.key, ahead_us), *load]

    def forget(self) -> None:
        """Give this process its own clock back."""
        self.ahead_us = 0
        clock.ahead_us = 0

    def sent(self, command: Command) -> Command:
        """Return a command with the script that has the shifted clock."""
        script = script_of(command) if self.ahead_us else None
        if script is None:
            return command
        source, plain, sha = self._texts(script)
        if not sha:
            return command
        at = 2 if command[0] == "SCRIPT" else 1
        texts: dict[Argument, Argument] = {script.sha: sha, script.source: source, script.plain: plain}
        return (*command[:at], texts[command[at]], *command[at + 1 :])

    def replies(self, commands: Sequence[Command], replies: list[Any]) -> list[Any]:
        """Return replies in which TIME has the shifted time."""
        if not self.ahead_us or ASK not in commands:
            return replies
        return [
            divmod(int(reply[0]) * 1_000_000 + int(reply[1]) + self.ahead_us, 1_000_000)
            if command == ASK and isinstance(reply, list | tuple)
            else reply
            for command, reply in zip(commands, replies, strict=True)
        ]

    def _texts(self, script: Script) -> tuple[bytes, bytes, str]:
        """Source, plain source and hash of a changed script; empty if it does not read the time."""
        texts = self._changed.get(script.sha)
        if texts is None:
            plain = script.plain.decode()
            if _TIME in plain or _STREAM_ID.search(plain):
                changed = _STREAM_ID.sub(r"\1kit_stream_id()", plain.replace(_TIME, "kit_time()"))
                plain_changed = (_CLOCK % self.key + changed).encode()
                source = script.source[: len(script.source) - len(script.plain)] + plain_changed
                sha = hashlib.sha1(source, usedforsecurity=False).hexdigest()
                texts = source, plain_changed, sha
            else:
                texts = b"", b"", ""
            self._changed[script.sha] = texts
        return texts
