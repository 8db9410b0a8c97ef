"""Who may ask a fleet for what, in one table: workers, the dashboard and the Redis users follow it. Pure.

A name in Redis becomes an object only if an import has declared it for that use. For an act that is more than a job, a
worker also looks for a proof: a record under a key, or a message on a channel, that only those users can write who may
ask for the act. It never believes the envelope or the id of a job, because each producer can write both.
"""

from __future__ import annotations

from typing import NamedTuple


class Authority(NamedTuple):
    """Who may ask for an act.

    Attributes:
        proof: The key or the channel that a worker looks at, as `store/keys.py` spells it after the tag.
        users: The Redis users that can write it.
        role: The lowest role of the dashboard; None if nobody asks for it over HTTP.
        bound: What a worker has to know besides, for people.
    """

    proof: str
    users: frozenset[str]
    role: str | None
    bound: str


def _users(text: str) -> frozenset[str]:
    return frozenset(text.split())


AUTHORITIES: dict[str, Authority] = {
    "job": Authority(
        "job:<id>",
        _users("producer canceller worker reaper host operator"),
        "producer",
        "a function with `@job`, or registered; with keys, also a valid signature",
    ),
    "undo": Authority(
        "steps:<id>",
        _users("worker reaper host operator approver"),
        None,
        "the steps of the other job name this very job, and each function has `@undo` or `@job`",
    ),
    "maintenance": Authority(
        "cron",
        _users("worker reaper host operator"),
        "operator",
        "a recurring job has the same call; ages are at least those of the settings",
    ),
    "signal": Authority(
        "steps:<id>",
        _users("worker reaper host operator approver"),
        "approver",
        "a job waits for its name; with `only_token=True` it has to come with a token",
    ),
    "command": Authority(
        "commands",
        _users("operator"),
        "operator",
        "one of the commands of `jobfleet workers`",
    ),
}
"""The acts. `tests/store/acl/test_authority.py` tries each as each user and each role."""

__all__ = ["AUTHORITIES", "Authority"]
