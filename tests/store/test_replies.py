"""Errors of a server and of connections, sorted by what can be done about them."""

from __future__ import annotations

from typing import Any

import pytest
from redis import exceptions
from redis._parsers.base import BaseParser

from jobfleet import FleetFull, JobNotFound
from jobfleet.errors import ConfigError, JobfleetError, ScriptContractError, StoreUnavailable, UnreadableData
from jobfleet.store.call import Call
from jobfleet.store.calls.inspect import fleet
from jobfleet.store.keys import Keyspace
from jobfleet.store.replies import IS_SENTINEL, RIGHTS, Remedy, remedy, translate, unavailable, word

CALL: Call[Any] = fleet(Keyspace("test"))
CHECK = "Check user and password in --url / JOBFLEET_URL."


def said(line: str) -> BaseException:
    """The exception that redis-py makes of an error line."""
    error: BaseException = BaseParser.parse_error(line)  # type: ignore[no-untyped-call]
    return error


@pytest.mark.parametrize(
    ("line", "kind"),
    [
        ("NOSCRIPT No matching script.", Remedy.LOAD),
        ("LOADING Redis is loading the dataset in memory", Remedy.AGAIN),
        pytest.param("READONLY You can't write against a read only replica.", Remedy.AGAIN),
        pytest.param(
            "READONLY You can't write against a read only replica. script: 5f, on @user_script:1.",
            Remedy.AGAIN,
        ),
        pytest.param("MASTERDOWN Link with MASTER is down", Remedy.AGAIN),
        pytest.param("CLUSTERDOWN The cluster is down", Remedy.AGAIN),
        pytest.param("TRYAGAIN Multiple keys request during rehashing of slot", Remedy.AGAIN),
        ("MISCONF Redis is configured to save RDB snapshots", Remedy.AGAIN),
        ("NOREPLICAS Not enough good replicas to write.", Remedy.AGAIN),
        ("BUSY Redis is busy running a script.", Remedy.AGAIN),
        ("UNBLOCKED force unblock from blocking operation", Remedy.AGAIN),
        ("ERR max number of clients reached", Remedy.AGAIN),
        ("NOAUTH Authentication required.", Remedy.RAISE),
        ("WRONGPASS invalid username-password pair or user is disabled.", Remedy.RAISE),
        ("NOPERM User bob has no permissions to run the 'evalsha' command", Remedy.RAISE),
        ("OOM command not allowed when used memory > 'maxmemory'.", Remedy.RAISE),
        ("ERR unknown command 'EVALSHA_RO'", Remedy.RAISE),
        ("WRONGTYPE Operation against a key holding the wrong kind of value", Remedy.RAISE),
    ],
)
def test_an_error_of_the_server_has_its_remedy(line: str, kind: Remedy) -> None:
    assert remedy(said(line)) is kind


@pytest.mark.parametrize(
    "error",
    [
        exceptions.ConnectionError("Connection closed by server."),
        exceptions.TimeoutError("Timeout reading from socket"),
        ConnectionRefusedError(111, "Connection refused"),
        TimeoutError(),
        FileNotFoundError(2, "No such file or directory"),
        OSError("network unreachable"),
    ],
)
def test_a_connection_that_broke_is_tried_again(error: BaseException) -> None:
    assert remedy(error) is Remedy.AGAIN


DAMAGED = (
    "fleet: WRONGTYPE Operation. A client other than jobfleet has written to '{test}:queues', or to a key that it "
    "names. 'jobfleet doctor' shows which: delete it, or let a worker or a reaper move it aside."
)


@pytest.mark.parametrize(
    ("error", "kind", "text"),
    [
        (said("OOM command not allowed when used memory > 'maxmemory'."), FleetFull, FleetFull.__doc__),
        (
            said("NOAUTH Authentication required."),
            ConfigError,
            f"Redis refuses: Authentication required (NOAUTH). {CHECK}",
        ),
        (
            said("WRONGPASS invalid username-password pair or user is disabled."),
            ConfigError,
            f"Redis refuses: invalid username-password pair or user is disabled (WRONGPASS). {CHECK}",
        ),
        (
            said("NOPERM User bob has no permissions to run the 'evalsha' command"),
            ConfigError,
            f"Redis refuses: User bob has no permissions to run the 'evalsha' command (NOPERM). {RIGHTS}",
        ),
        (
            said("ERR ACL failure in script: User bob has no permissions to run the 'info' command"),
            ConfigError,
            f"Redis refuses: ACL failure in script: User bob has no permissions to run the 'info' command. {RIGHTS}",
        ),
        (
            said("ERR unknown command 'EVALSHA_RO', with args beginning with: '5f'"),
            ConfigError,
            f"Redis refuses: unknown command 'EVALSHA_RO'. {IS_SENTINEL}",
        ),
        (
            said("DB index is out of range"),
            ConfigError,
            "Redis refuses: DB index is out of range. Check the database's number in --url / JOBFLEET_URL.",
        ),
        (said("ERR odd"), ScriptContractError, "fleet: odd"),
        (said("WRONGTYPE Operation"), UnreadableData, DAMAGED),
    ],
    ids=["OOM", "NOAUTH", "WRONGPASS", "NOPERM", "ACL", "Sentinel", "database", "other", "damage"],
)
def test_a_final_error_is_told_in_words_of_ours(error: BaseException, kind: type[JobfleetError], text: str) -> None:
    told = translate(error, CALL)

    assert (type(told), str(told)) == (kind, text)


def test_an_error_of_ours_stays_itself() -> None:
    error = JobNotFound("mail.0.x")

    assert translate(error, CALL) is error


def test_a_reply_in_the_contract_passes() -> None:
    reply = [b"fleet", 5]

    assert word(reply, CALL) is reply


@pytest.mark.parametrize("reply", [None, [], b"fleet", 7, [b"flat", 5]])
def test_a_reply_outside_of_the_contract_is_a_bug_of_ours(reply: Any) -> None:
    with pytest.raises(ScriptContractError) as caught:
        word(reply, CALL)

    assert str(caught.value) == f"fleet returned {reply!r}, which its contract does not name."


@pytest.mark.parametrize(
    ("error", "reason"),
    [
        (ConnectionRefusedError(111, "Connection refused"), "connection refused"),
        (exceptions.ConnectionError("Error 111 connecting to localhost:1. Connection refused."), "connection refused"),
        (exceptions.ConnectionError("Error 2 connecting to /x.sock. No such file or directory."), "no such socket"),
        (FileNotFoundError(2, "No such file or directory"), "no such socket"),
        (exceptions.TimeoutError("Timeout reading from socket"), "Timeout reading from socket"),
        (exceptions.ConnectionError("Connection closed by server."), "Connection closed by server"),
        (TimeoutError(), "timed out"),
        (exceptions.ConnectionError("Error -2 connecting to nohost:1. Name or service not known."), "no such host"),
        (exceptions.InvalidResponse('Protocol error, got "H" as reply type byte'), "the server there is not Redis"),
    ],
)
def test_an_absent_server_is_told_with_the_reason_and_a_remedy(error: BaseException, reason: str) -> None:
    told = unavailable("redis://ann:***@host:6379/0", error)

    assert type(told) is StoreUnavailable
    assert str(told) == (f"No Redis at redis://ann:***@host:6379/0 ({reason}). Start it there, or correct the URL.")


@pytest.mark.parametrize(
    ("text", "advice"),
    [
        ("certificate verify failed: self-signed certificate in certificate chain", "Set tls_ca_file"),
        ("[SSL: CERTIFICATE_VERIFY_FAILED] unable to get local issuer certificate", "Set tls_ca_file"),
        ("[SSL: CERTIFICATE_VERIFY_FAILED] certificate has expired", "Renew the certificate"),
        ("[SSL: CERTIFICATE_VERIFY_FAILED] Hostname mismatch, certificate is not valid for 'b'", "Name a host"),
        ("[X509: KEY_VALUES_MISMATCH] key values mismatch", "Check tls_ca_file, tls_cert_file and tls_key_file: all"),
        ("[SSL] PEM lib (_ssl.c:3900)", "Check tls_ca_file, tls_cert_file and tls_key_file: all"),
        ("[SSL: TLSV13_ALERT_CERTIFICATE_REQUIRED] tlsv13 alert certificate required", "The server refuses the"),
        ("[SSL: WRONG_VERSION_NUMBER] wrong version number", "The server speaks no TLS there"),
        ("Connection closed by server.", "Start it there; if it wants certificates of clients, set tls_cert_file"),
        ("Error 111 connecting to host:6379. Connection refused.", "Start it there, or correct the URL."),
    ],
)
def test_an_error_of_tls_names_the_setting(text: str, advice: str) -> None:
    told = str(unavailable("rediss://host:6379/0", exceptions.ConnectionError(text)))

    assert told.partition("). ")[2].startswith(advice)


def test_a_host_with_111_in_its_address_was_not_refused() -> None:
    told = unavailable("redis://10.0.0.111:6379/0", exceptions.TimeoutError("Timeout reading from 10.0.0.111:6379"))

    assert "Timeout reading" in str(told)


@pytest.mark.parametrize(
    ("error", "reason"),
    [
        (said("LOADING Redis is loading the dataset in memory"), "it is loading its data (LOADING). Try again"),
        (said("MASTERDOWN Link with MASTER is down"), "it is a replica whose primary is down (MASTERDOWN). Set --url"),
        (said("OOM command not allowed when used memory > 'maxmemory'."), "its memory is full (OOM). Raise"),
        (said("MISCONF Errors writing to the AOF file"), "it cannot save to its disk (MISCONF). Free space"),
        (said("NOREPLICAS Not enough good replicas to write."), "too few replicas are connected (NOREPLICAS). Start"),
        (said("BUSY Redis is busy running a script."), "a script keeps it busy (BUSY). Try again"),
        (said("ERR max number of clients reached"), "it takes no more connections (maxclients). Raise"),
        (said("CLUSTERDOWN The cluster is down"), "its cluster is down (CLUSTERDOWN). Start"),
        (exceptions.ReadOnlyError("You can't write"), "it is a read-only replica, not the primary (READONLY). Set"),
        (said("READONLY You can't write"), "it is a read-only replica, not the primary (READONLY). Set"),
    ],
)
def test_a_server_that_answers_is_not_reported_as_absent(error: BaseException, reason: str) -> None:
    told = unavailable("redis://host:6379/0", error)

    assert type(told) is StoreUnavailable
    assert str(told).startswith(f"Redis at redis://host:6379/0 refuses: {reason}")
