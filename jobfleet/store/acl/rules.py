"""Write permissions as rules of `ACL SETUSER`. Pure.

A user has a part without keys, and selectors: each has commands and the keys to which they apply. Keys with the same
commands share a selector, so the server looks at few keys for a command.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence

from jobfleet.store.acl.grants import OF_ANY_TYPE, READING, STRINGS_WRITTEN, WHOLE, Grant, Key, type_of

Names = Callable[[Key], Sequence[str]]
CALLS = ("EVALSHA", "EVAL")
CALLS_READING = frozenset({"EVALSHA_RO", "EVAL_RO"})
FUNCTION_OF = {"EVALSHA": "FCALL", "EVALSHA_RO": "FCALL_RO"}
"""The commands that call a function in place of a script."""
EVALS = {*CALLS, *CALLS_READING, "SCRIPT|LOAD"}
"""Commands by which a user runs any script."""
OF_MANY_KEYS = (
    STRINGS_WRITTEN
    | CALLS_READING
    | {*CALLS, *FUNCTION_OF.values(), "EXISTS", "MGET", "DEL", "UNLINK", "RENAME", "BZPOPMIN"}
)
"""Commands whose keys may be of several kinds. One selector must allow all keys of a command."""
NOT_EVERYWHERE = {"MSETEX": ("+@string", "-@read")}
"""Commands that older servers do not know, and would refuse in a rule; and a wider permission that includes them.

Together with a permission that only writes (``%W~``), it adds no command that returns the old value.
"""


def selectors(grants: Iterable[Grant], names: Names) -> list[str]:
    """Return selectors for the commands, with the names or patterns of the keys to which they apply."""
    by_command: dict[str, set[Key]] = {}
    by_key: dict[tuple[Key, str], set[str]] = {}
    for command, key in grants:
        if key is not None and command in OF_MANY_KEYS:
            by_command.setdefault(command, set()).add(key)
        elif key is not None:
            by_key.setdefault((key, "" if command in WHOLE | OF_ANY_TYPE else type_of(command)), set()).add(command)
    shared: dict[frozenset[str], set[Key]] = {}
    for (key, _), commands in by_key.items():
        shared.setdefault(frozenset(commands), set()).add(key)
    alike: dict[tuple[str, frozenset[Key]], set[str]] = {}
    for command, keys in by_command.items():
        alike.setdefault((_access([command]), frozenset(keys)), set()).add(command)
    rows = [(sorted(commands), sorted(keys)) for commands, keys in shared.items()]
    rows += [(sorted(commands), sorted(keys)) for (_, keys), commands in alike.items()]
    return [rule for commands, keys in sorted(rows) if (rule := _selector(commands, keys, names))]


def _selector(commands: Sequence[str], keys: Iterable[Key], names: Names) -> str:
    """Write a selector. Keys of jobs come first: a call has many of them, and a server tries the patterns in order."""
    ordered = sorted(keys, key=lambda key: "<id>" not in key.name)
    patterns = [f"{_access(commands)}{name}" for key in ordered for name in names(key)]
    return f"({' '.join([*spelled(commands), *patterns])})" if patterns else ""


def spelled(commands: Iterable[str]) -> list[str]:
    """Write the permission to run some commands."""
    wide = [rule for command in commands for rule in NOT_EVERYWHERE.get(command, ())]
    return wide + [f"+{command.lower()}" for command in commands if command not in NOT_EVERYWHERE]


def _access(commands: Sequence[str]) -> str:
    if (READING | CALLS_READING | {"FCALL_RO"}).issuperset(commands):
        return "%R~"
    return "%W~" if STRINGS_WRITTEN.issuperset(commands) else "~"
