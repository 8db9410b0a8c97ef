"""The commands that a role needs, as examples that a server can check without running them."""

from __future__ import annotations

from urllib.parse import unquote, urlsplit

from jobfleet.store.acl.grants import Grant, Key
from jobfleet.store.acl.roles import Role, roles
from jobfleet.store.acl.rules import CALLS, CALLS_READING, FUNCTION_OF, NOT_EVERYWHERE

WORDS_AFTER_KEY = {
    1: """HDEL HEXISTS HGET HMGET HSCAN LINDEX MSET MSETNX PEXPIRE RPUSH SET XDEL XGROUP|DESTROY XINFO|CONSUMERS
        XPENDING ZMSCORE ZRANK ZREM ZSCORE""",
    2: """GETRANGE HINCRBY HSET HSETNX LRANGE LTRIM XACK XGROUP|CREATE XGROUP|CREATECONSUMER XGROUP|DELCONSUMER XRANGE
        XREVRANGE XTRIM ZADD ZCOUNT ZLEXCOUNT ZRANGE ZRANGEBYLEX ZRANGEBYSCORE ZREMRANGEBYRANK ZREMRANGEBYSCORE
        ZINCRBY ZREVRANGE ZREVRANGEBYLEX ZREVRANGEBYSCORE""",
    3: "XADD",
    4: "XAUTOCLAIM",
}
"""How many words a command has after its key, at the least. Redis judges only commands that have enough words."""
_AFTER_KEY = {command: count for count, commands in WORDS_AFTER_KEY.items() for command in commands.split()}
OPERATOR = "operator"
DEFAULT = "default"


def user_of(url: str) -> str:
    """Return the user that a URL names; `default` if it names none."""
    login, at, _ = urlsplit(url).netloc.rpartition("@")
    return unquote(login.partition(":")[0]) or DEFAULT if at else DEFAULT


def role_of(user: str) -> Role:
    """Return the role of a user: the one that its name is, or ends with, such as ``shop-worker``; else the operator."""
    known = {role.name: role for role in roles()}
    return known.get(user.rpartition("-")[2], known[OPERATOR])


def probes(role: Role, namespace: str) -> list[str]:
    """Return one command for each permission of a role, a word per line."""
    found = [words for grant in role.grants() if (words := words_of(grant, namespace))]
    found += [("PUBLISH", _example(key, namespace), "x") for key in role.publishes]
    found += [("SUBSCRIBE", _example(key, namespace)) for key in role.hears]
    return sorted({"\n".join(words) for words in found})


def words_of(grant: Grant, namespace: str) -> tuple[str, ...]:
    """The words of a command that needs a permission; none if it cannot be tried."""
    command, key = grant
    if key is None or command in NOT_EVERYWHERE:
        return ()
    name = _example(key, namespace)
    match command:
        case verb if verb in CALLS or verb in CALLS_READING or verb in FUNCTION_OF.values():
            return (verb, "x", "1", name)
        case "BZPOPMIN":
            return (command, name, "0")
        case "RENAME":
            return (command, name, name)
        case "XREADGROUP":
            return (command, "GROUP", "x", "x", "STREAMS", name, ">")
    return (*command.split("|"), name, *("x",) * _AFTER_KEY.get(command, 0))


def _example(key: Key, namespace: str) -> str:
    return key.pattern(namespace).replace("*", "x")
