"""What a role must not do, it cannot do."""

from __future__ import annotations

import subprocess
import threading
from typing import Any

import pytest
import redis

from jobfleet.store.acl import roles
from jobfleet.store.script import names
from tests.store.acl.conftest import FILES, ROLES, As
from tests.support.each import each
from tests.support.fleet import ROOT
from tests.support.users import UrlOf
from tests.support.waiting import wait_until

LANE, FLEET = "{jobfleet:mail:0}:", "{jobfleet}:"
ENDLESS = "while\ttrue\tdo\tend"
COMMANDS = [
    "FLUSHALL", "FLUSHDB", "KEYS *", "SCAN 0", "CONFIG GET maxmemory", "CONFIG SET maxmemory 1", "CONFIG REWRITE",
    "ACL LIST", "ACL SETUSER web +@all", "ACL GETUSER web", "MONITOR", "SCRIPT FLUSH", "SCRIPT KILL", "CLIENT LIST",
    "CLIENT KILL ID 1", "REPLICAOF NO ONE", "SHUTDOWN NOSAVE", f"MIGRATE 127.0.0.1 1 {LANE}runs 0 1",
    f"RESTORE {LANE}runs 0 x", f"RENAME {LANE}dlq {LANE}gone", f"RENAME {LANE}runs other", "SWAPDB 0 1",
    "FUNCTION LOAD x", "FUNCTION FLUSH", "FCALL f 0", "SAVE", "BGSAVE", "SLOWLOG GET", "MOVE x 1",
    "OBJECT HELP", "PSUBSCRIBE *", "GET other", "SET other 1", "GET {other:mail:0}:job:a", "HGETALL {jobfleet2}:cron",
    f"DUMP {LANE}job:a", f"SORT {LANE}ready:2", f"APPEND {FLEET}queues x", "MULTI", "EVAL return 0",
    f"EVAL_RO {ENDLESS} 0",
    "PUBLISH other x", "SUBSCRIBE other", f"PUBLISH {FLEET}commands x",
]  # fmt: skip
FORBIDDEN: dict[str, list[str]] = {
    "producer": [
        f"ZRANGE {LANE}lease 0 -1", f"ZADD {LANE}lease 1 a", f"HGETALL {LANE}runs",
        f"BZPOPMIN {LANE}wake 1", f"XDEL {LANE}dlq 1-1", f"XADD {LANE}dlq * a b",
        f"XTRIM {LANE}dlq MAXLEN 0", f"UNLINK {LANE}dlq", f"DEL {LANE}runs", f"PEXPIRE {LANE}ready:2 1",
        f"HDEL {LANE}dead a", f"SET {LANE}claim:x buried", f"HSET {FLEET}cron a b", f"SET {FLEET}worker:x 1",
        f"HSET {LANE}steps:a x:approved v", f"HDEL {LANE}steps:a s:charge", f"UNLINK {LANE}steps:a",
        f"SUBSCRIBE {FLEET}control", f"GET {LANE}claim:x", f"HSET {FLEET}conf a b", f"RENAME {LANE}job:a {LANE}job:b",
        "SCRIPT LOAD x", f"SET {LANE}result:a x", f"SET {LANE}value:a x", f"HSET {LANE}runs a b", f"HDEL {LANE}tries a",
        f"HSET {LANE}conf paused x", f"XADD {LANE}outbox * id a", f"XADD {LANE}done * a b", f"UNLINK {LANE}log:a",
        f"XADD {LANE}chunks:a * a b", f"XGROUP CREATE {LANE}journal a $", f"PUBLISH {FLEET}control x",
    ],
    "canceller": [
        f"HSET {LANE}conf paused x", f"ZADD {LANE}lease 1 a", f"XADD {LANE}dlq * a b", f"HSET {FLEET}cron a b",
        f"SUBSCRIBE {FLEET}control", f"SET {LANE}claim:x buried", "SCRIPT LOAD x",
    ],
    "approver": [
        f"SET {LANE}job:a x", f"HDEL {LANE}steps:a s:charge", f"UNLINK {LANE}steps:a", f"LRANGE {LANE}log:a 0 -1",
        f"XADD {LANE}dlq * a b", f"HSET {FLEET}cron a b", f"HSET {LANE}conf a b", f"HSET {LANE}runs a b",
        f"SET {LANE}result:a x", f"UNLINK {LANE}meta", f"PUBLISH {FLEET}control x", f"SUBSCRIBE {FLEET}control",
        f"BZPOPMIN {LANE}wake 1", f"HSET {LANE}dead a b", f"UNLINK {LANE}job:a", f"XADD {FLEET}audit * a b",
    ],
    "worker": [
        f"XTRIM {LANE}dlq MAXLEN 0", f"UNLINK {LANE}dlq", f"DEL {LANE}dlq", f"SET {LANE}dlq x",
        f"PEXPIRE {LANE}dlq 1", f"XREADGROUP GROUP a b STREAMS {LANE}dlq >", f"UNLINK {LANE}conf",
        f"HSET {FLEET}cron-paused a b", f"HSET {FLEET}consumers a 1", f"XGROUP DESTROY {LANE}journal a",
        f"ZADD {FLEET}notify:x:due 1 a", f"UNLINK {FLEET}queues", f"UNLINK {LANE}ready:2",
        f"PUBLISH {FLEET}elsewhere x",
    ],
    "reaper": [
        f"BZPOPMIN {LANE}wake 1", f"PUBLISH {FLEET}control x", f"SUBSCRIBE {FLEET}control", f"SET {LANE}claim:x buried",
        f"GET {LANE}claim:x", f"UNLINK {LANE}dlq", f"UNLINK {LANE}runs", f"HSET {FLEET}cron-paused a b",
        f"ZADD {FLEET}lock:x 1 a",
    ],
    "host": [
        f"UNLINK {LANE}dlq", f"DEL {LANE}dlq", f"SET {LANE}dlq x", f"UNLINK {LANE}conf",
        f"XGROUP DESTROY {LANE}journal a",
        f"XREADGROUP GROUP a b STREAMS {LANE}dlq >", f"HSET {FLEET}cron-paused a b",
        f"UNLINK {FLEET}queues", f"UNLINK {LANE}ready:2", f"UNLINK {LANE}runs", f"PUBLISH {FLEET}elsewhere x",
    ],
    "web": [
        f"SET {LANE}job:a x", f"HSET {LANE}conf paused x", f"ZADD {LANE}ready:2 1 a", f"XADD {LANE}dlq * a b",
        f"XDEL {LANE}dlq 1-1", f"UNLINK {LANE}job:a", f"DEL {FLEET}queues", f"PEXPIRE {LANE}result:a 1",
        f"HDEL {FLEET}cron a", f"PUBLISH {LANE}events x", f"PUBLISH {FLEET}control x", f"SUBSCRIBE {FLEET}control",
        f"EVALSHA 0 1 {LANE}conf", f"EVAL x 1 {LANE}job:a", f"BZPOPMIN {LANE}wake 1", f"ZREM {LANE}lease a",
        f"SET {FLEET}worker:x 1", "WAIT 0 0", "WAITAOF 0 0 0",
    ],
    "exporter": [
        f"GET {LANE}job:a", f"MGET {LANE}job:a", f"GET {LANE}result:a", f"GET {LANE}value:a", f"HGETALL {LANE}runs",
        f"HGET {LANE}runs a", f"XRANGE {LANE}dlq - +", f"XREVRANGE {LANE}dlq + -", f"HGETALL {LANE}dead",
        f"LRANGE {LANE}log:a 0 -1", f"HGETALL {LANE}steps:a", f"SET {LANE}listeners 1", f"SUBSCRIBE {LANE}events",
        f"EVALSHA 0 1 {LANE}conf", f"EVAL x 1 {LANE}conf", f"GET {LANE}progress:a", f"HSET {LANE}conf a b",
        f"HGETALL {FLEET}cron", f"HGET {FLEET}cron a", f"HSET {FLEET}cron-times a b",
        "WAIT 0 0", "WAITAOF 0 0 0",
    ],
    "operator": [
        f"BZPOPMIN {LANE}wake 1", f"SET {LANE}claim:x 1", f"GET {LANE}claim:x",
        f"SET {LANE}sent:x 1", f"SET {FLEET}worker:x 1", f"ZADD {FLEET}lock:x 1 a", f"SUBSCRIBE {FLEET}control",
        f"ZADD {FLEET}workers 1 a", f"XREADGROUP GROUP a b STREAMS {LANE}journal >", "SCRIPT LOAD x",
    ],
}  # fmt: skip


def refusal(client: redis.Redis, command: str) -> str:
    try:
        execute: Any = client.execute_command
        execute(*command.split(" "))
    except redis.ResponseError as error:
        return str(error)
    return "it was allowed"


BY_OPERATORS = {"SCRIPT KILL", f"PUBLISH {FLEET}commands x"}
OF_VARIANTS = {"eval": {"MULTI", "EVAL return 0", f"EVAL_RO {ENDLESS} 0"}, "functions": {"MULTI", "FCALL f 0"}}
"""A script or a function can do only what its caller can; docs/howto/redis-users.md."""


@each("role", ROLES)
def test_what_nobody_may_do(role: str, as_role: As, variant: str) -> None:
    client = as_role(role)

    allowed = {
        command: answer
        for command in COMMANDS
        if command not in OF_VARIANTS[variant]
        and not (role == "operator" and command in BY_OPERATORS)
        and "permission" not in (answer := refusal(client, command))
    }

    assert allowed == {}


@each("role", ROLES)
def test_what_this_role_may_not_do(role: str, as_role: As) -> None:
    client = as_role(role)

    allowed = {
        command: answer for command in FORBIDDEN[role] if "permission" not in (answer := refusal(client, command))
    }

    assert allowed == {}


@pytest.mark.parametrize(
    ("role", "script"),
    [
        ("web", "redis.call('DEL', KEYS[1])"),
        ("web", "redis.call('PUBLISH', '{jobfleet}:control', 'x')"),
        ("producer", "redis.call('PUBLISH', '{jobfleet}:commands', 'x')"),
        ("canceller", "redis.call('PUBLISH', '{jobfleet}:commands', 'x')"),
        ("exporter", "return redis.call('GET', '{jobfleet:mail:0}:job:a')"),
        ("producer", "return redis.call('ZRANGE', '{jobfleet:mail:0}:lease', 0, -1)"),
        ("worker", "return redis.call('XTRIM', '{jobfleet:mail:0}:dlq', 'MAXLEN', 0)"),
        ("operator", "return redis.call('SET', '{jobfleet:mail:0}:claim:x', '1')"),
    ],
)
def test_a_script_does_not_widen_what_its_caller_may_do(role: str, script: str, as_role: As) -> None:
    """Where users call functions, they may not run it at all."""
    execute: Any = as_role(role).execute_command

    with pytest.raises(redis.ResponseError, match=r"[Pp]ermission|not allowed"):
        execute("EVAL_RO", script, 1, "{jobfleet}:queues")


def test_an_operator_ends_a_script_that_keeps_the_server_busy(admin: redis.Redis, as_role: As, variant: str) -> None:
    """Any user that runs scripts of its own can stop everybody with an endless one."""
    if variant == "functions":
        assert "permission" in refusal(as_role("web"), f"EVAL_RO {ENDLESS} 0")
        return
    ended: list[str] = []
    admin.config_set("busy-reply-threshold", 50)
    thread = threading.Thread(target=lambda: ended.append(refusal(as_role("web"), f"EVAL_RO {ENDLESS} 0")))
    operator = as_role("operator")
    operator.ping()

    thread.start()
    wait_until(lambda: "BUSY" in refusal(operator, "PING"), why="the script runs")
    execute: Any = operator.execute_command
    assert execute("SCRIPT", "KILL") == b"OK"
    thread.join(60)

    assert "killed" in ended[0].lower()
    assert operator.ping()


@each("role", ROLES)
def test_each_user_may_use_another_database_of_the_server(role: str, url_of: UrlOf) -> None:
    with redis.Redis.from_url(f"{url_of(role)}?db=1") as client:
        assert client.ping()


def test_nobody_can_connect_before_a_password_is_set() -> None:
    lines = [line for file in FILES.values() for line in file.read_text().splitlines()]

    assert [line.split(" ")[1] for line in lines] == 2 * list(ROLES)
    assert all(line.split(" ")[2:4] == ["on", "resetpass"] and "nopass" not in line for line in lines)
    assert not any(word[0] in "#>" for line in lines for word in line.split(" "))


def test_each_script_belongs_to_a_role_and_the_file_is_fresh() -> None:
    done = subprocess.run([ROOT / "scripts" / "acl", "--check"], capture_output=True, text=True, check=False)

    assert (done.returncode, done.stdout) == (0, "")
    assert set(names()) - {script for role in roles() for script in role.scripts} == {"mend", "survey"}
