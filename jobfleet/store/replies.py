"""Replies and errors of Redis; errors are sorted by their remedy, with advice."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from enum import Enum, auto
from typing import Any, NamedTuple

from redis import exceptions

from jobfleet.config.url import DEFAULT_URL, SECURE
from jobfleet.errors import ConfigError, FleetFull, JobfleetError, ScriptContractError, StoreUnavailable, UnreadableData
from jobfleet.store.call import Call, Reply

AGAIN_WORDS = (
    "LOADING", "READONLY", "MASTERDOWN", "CLUSTERDOWN", "TRYAGAIN", "MISCONF", "NOREPLICAS", "BUSY", "UNBLOCKED",
    "max number of clients",
)  # fmt: skip
NO_DATABASE = "DB index is out of range"
NO_FUNCTION = "Function not found"
UNKNOWN_COMMAND = "unknown command"
UNAUTHORIZED_CODES = ("NOAUTH", "WRONGPASS", "NOPERM")
REFUSED_WORDS = (
    *UNAUTHORIZED_CODES, "ACL failure", "invalid username-password", "without any password", NO_DATABASE,
)  # fmt: skip
UNKNOWN_HOST_WORDS = ("Name or service not known", "nodename nor servname", "No address associated")
CONNECTION_ERRORS = (
    exceptions.ConnectionError,
    exceptions.TimeoutError,
    exceptions.BusyLoadingError,
    exceptions.InvalidResponse,
    ConnectionError,
    TimeoutError,
    OSError,
)


AGAIN_ERRORS = (
    exceptions.ReadOnlyError,
    exceptions.ClusterDownError,
    exceptions.TryAgainError,
)
"""redis-py replaces the first word of some error texts by an exception class."""

WRITE_WORDS = ("READONLY", "MISCONF", "NOREPLICAS")


class Refusal(NamedTuple):
    """An error with which a server refuses a command that it may accept later.

    Attributes:
        kind: The exception of redis-py, if it has one.
        mark: The word by which the text of the error is known.
        reason: The meaning.
        advice: What to do about it.
    """

    kind: type[BaseException] | None
    mark: str
    reason: str
    advice: str


_TO_THE_PRIMARY = "Set --url / JOBFLEET_URL to the primary."
REFUSALS: tuple[Refusal, ...] = (
    Refusal(exceptions.BusyLoadingError, "LOADING", "it is loading its data (LOADING)", "Try again when it has."),
    Refusal(
        exceptions.ReadOnlyError,
        "READONLY",
        "it is a read-only replica, not the primary (READONLY)",
        _TO_THE_PRIMARY,
    ),
    Refusal(
        exceptions.MasterDownError,
        "MASTERDOWN",
        "it is a replica whose primary is down (MASTERDOWN)",
        _TO_THE_PRIMARY,
    ),
    Refusal(exceptions.OutOfMemoryError, "OOM ", "its memory is full (OOM)", "Raise its maxmemory."),
    Refusal(
        None,
        "max number of clients",
        "it takes no more connections (maxclients)",
        "Raise its maxclients, or end some clients.",
    ),
    Refusal(
        None,
        "MISCONF",
        "it cannot save to its disk (MISCONF)",
        "Free space on its disk, or look for the cause in its log.",
    ),
    Refusal(
        None,
        "NOREPLICAS",
        "too few replicas are connected (NOREPLICAS)",
        "Start its replicas, or lower its min-replicas-to-write.",
    ),
    Refusal(None, "BUSY ", "a script keeps it busy (BUSY)", "Try again, or end the script with SCRIPT KILL."),
    Refusal(
        exceptions.ClusterDownError,
        "CLUSTERDOWN",
        "its cluster is down (CLUSTERDOWN)",
        "Start the missing nodes of the cluster.",
    ),
)


class Remedy(Enum):
    """The remedy for an error."""

    LOAD = auto()
    AGAIN = auto()
    RAISE = auto()


def remedy(error: BaseException) -> Remedy:
    """Return the remedy for an error of the server or of the connection."""
    text = str(error)
    if isinstance(error, exceptions.NoScriptError) or text.startswith("NOSCRIPT"):
        return Remedy.LOAD
    if isinstance(error, exceptions.AuthenticationError | exceptions.NoPermissionError):
        return Remedy.RAISE
    if isinstance(error, AGAIN_ERRORS):
        return Remedy.AGAIN
    if isinstance(error, CONNECTION_ERRORS) and not any(word in text for word in REFUSED_WORDS):
        return Remedy.AGAIN
    return Remedy.AGAIN if any(word in text for word in AGAIN_WORDS) else Remedy.RAISE


def is_away(reply: object) -> bool:
    """Whether a reply is an error after which a repetition may succeed."""
    return isinstance(reply, BaseException) and remedy(reply) is Remedy.AGAIN


def translate(error: BaseException, call: Call[Any] | None = None) -> JobfleetError:
    """Convert a final error of the server to an error of jobfleet."""
    text = str(error)
    if isinstance(error, JobfleetError):
        return error
    if text.startswith("OOM") or isinstance(error, exceptions.OutOfMemoryError):
        return FleetFull()
    if NO_DATABASE in text:
        return ConfigError(f"Redis refuses: {NO_DATABASE}. Check the database's number in --url / JOBFLEET_URL.")
    if isinstance(error, exceptions.AuthenticationError | exceptions.NoPermissionError) or any(
        word in text for word in (*REFUSED_WORDS, UNKNOWN_COMMAND)
    ):
        return refused(error, UNAUTHORIZED_CODES)
    if isinstance(error, exceptions.MovedError):
        return ConfigError("Redis is a node of a cluster. Write the URL as cluster://HOST:6379,HOST:6379.")
    if NO_FUNCTION in text:
        return ConfigError(
            f"The server lacks the functions of this revision of jobfleet ({NO_FUNCTION}). As its administrator, run "
            "'jobfleet acl install', or leave out the setting scripts."
        )
    what = f"{call.script.name}: " if call else ""
    if "WRONGTYPE" in text:
        key = f" {call.keys[0]!r}" if call else ""
        return UnreadableData(
            f"{what}{text:.300}. A client other than jobfleet has written to{key}, or to a key that it names. "
            "'jobfleet doctor' shows which: delete it, or let a worker or a reaper move it aside."
        )
    return ScriptContractError(f"{what}{text}")


def word(reply: Any, call: Call[Any]) -> Reply:
    """Return a reply if its first word is in the contract of its script."""
    if isinstance(reply, list) and reply and isinstance(reply[0], bytes) and reply[0] in call.script.words:
        return reply
    raise ScriptContractError(f"{call.script.name} returned {reply!r:.200}, which its contract does not name.")


def read(reply: Any, call: Call[Any]) -> Any:
    """Return the value of a reply, or its error, so that one bad reply does not affect other calls."""
    try:
        return call.read(word(reply, call))
    except JobfleetError as error:
        return error
    except Exception as error:  # noqa: BLE001 - a foreign client may have written anything into Redis
        return UnreadableData(
            f"{call.script.name} returned a reply that cannot be read ({type(error).__name__}: {error}): a client "
            f"other than jobfleet has written to {call.keys[0]!r}. 'jobfleet doctor' shows more."
        )


WAITING_SHOWN = 3


def unavailable(url: str, error: BaseException, waiting: Collection[Call[Any]] = ()) -> StoreUnavailable:
    """Make the error to raise when the patience is over.

    Args:
        url: The masked URL.
        error: The last error.
        waiting: The calls without a reply; the hash tags of their keys are shown.
    """
    node = node_of(error)
    if node and waiting:
        shown = sorted({str(call.keys[0]).partition("{")[2].partition("}")[0] for call in waiting})
        more = f" and {len(shown) - WAITING_SHOWN:,} more" if len(shown) > WAITING_SHOWN else ""
        made = StoreUnavailable(
            f"No reply of the node {node} of {url} ({reason_of(error)}), which has {', '.join(shown[:WAITING_SHOWN])}"
            f"{more}. Start it, or let another node take its slots; 'jobfleet doctor' shows what waits for it."
        )
        made.node = node
        return made
    refused = refusal_of(error)
    if refused is not None:
        return StoreUnavailable(f"Redis at {url} refuses: {refused.reason}. {refused.advice}")

    return StoreUnavailable(f"No Redis at {url} ({reason_of(error)}). {for_connection(url, str(error))}")


def refusal_of(error: BaseException) -> Refusal | None:
    """Return the refusal of a server that answers; None for any other error, such as one of the connection."""
    text = str(error)
    return next((one for one in REFUSALS if (one.kind and isinstance(error, one.kind)) or one.mark in text), None)


def reason_of(error: BaseException) -> str:
    """Describe in a few words why Redis did not execute a command."""
    text = str(error).rstrip(".")
    refused = refusal_of(error)
    if refused is not None:
        return refused.reason
    if isinstance(error, exceptions.InvalidResponse):
        return "the server there is not Redis"
    if has_timed_out(error):
        return text or "timed out"
    if "refused" in text.lower() or "Error 111" in text:
        return "connection refused"
    if isinstance(error, FileNotFoundError) or "No such file" in text:
        return "no such socket"
    if any(words in text for words in UNKNOWN_HOST_WORDS):
        return "no such host"
    return text or type(error).__name__


def set_node(error: BaseException, node: str) -> None:
    """Note which node of a cluster an error of a connection is about, while other nodes reply."""
    error.__dict__["_jobfleet_node"] = node


def node_of(error: BaseException) -> str:
    """The node of a cluster that an error is about; empty if it is about the whole server."""
    return str(error.__dict__.get("_jobfleet_node", ""))


def has_timed_out(error: BaseException) -> bool:
    """Whether no reply came in time, unlike a connection that was refused or closed."""
    return isinstance(error, exceptions.TimeoutError | TimeoutError)


def refuses_writes(error: BaseException) -> bool:
    """Whether the server replies but refuses writes, so that its replies to reads do not end an outage."""
    text = str(error)
    return isinstance(error, exceptions.ReadOnlyError) or any(word in text for word in WRITE_WORDS)


def sources_once(calls: Sequence[Call[Any]], left: Sequence[tuple[int, bool]]) -> list[tuple[int, bool]]:
    """Send the source of a script only with the first of its calls for a hash tag; the others follow to that node."""
    seen: set[tuple[str, str]] = set()
    pending = []
    for index, is_by_source in left:
        call = calls[index]
        place = (call.script.sha, str(call.keys[0]).partition("}")[0])
        pending.append((index, is_by_source and place not in seen))
        if is_by_source:
            seen.add(place)
    return pending


RIGHTS = (
    "The user may not do this: give the URL the user of the role of this program, and --namespace / JOBFLEET_NAMESPACE "
    "the namespace of its keys."
)
CREDENTIALS = "Check user and password in --url / JOBFLEET_URL."
IS_SENTINEL = (
    "Is it a Sentinel? Then write sentinel://HOST:26379/SERVICE. Otherwise it is older than Redis 7, or has renamed "
    "the command."
)
_ENDED = ("Connection closed", "while writing to socket", "while reading from", "reset by peer")
"""Words of the error of a connection that the server has ended; with TLS 1.3 it may give no other reason."""
_TLS: tuple[tuple[tuple[str, ...], str], ...] = (
    (("has expired", "not yet valid"), "Renew the certificate, or correct the clock of this machine."),
    (
        ("ostname mismatch", "IP address mismatch", "not valid for"),
        "Name a host of the server's certificate in the URL, or set tls_check_hostname=false to check no names.",
    ),
    (
        ("CERTIFICATE_VERIFY_FAILED", "self-signed", "self signed", "unable to get local issuer"),
        "Set tls_ca_file to the certificate of the authority that has signed the server's.",
    ),
    (
        ("KEY_VALUES_MISMATCH", "PEM lib", "NO_START_LINE", "no start line", "NO_CERTIFICATE_OR_CRL_FOUND"),
        "Check tls_ca_file, tls_cert_file and tls_key_file: all are PEM files, and the key is that of the certificate.",
    ),
    (
        ("alert", "ALERT"),
        "The server refuses the certificate of this client: check tls_cert_file and tls_key_file.",
    ),
    (("WRONG_VERSION_NUMBER", "wrong version number"), "The server speaks no TLS there: write the URL without it."),
    (("SSL", "certificate"), "Check tls_ca_file, tls_cert_file and tls_key_file."),
)
"""Words of errors of TLS, the most specific first, with what to do."""


def refused(error: BaseException, codes: Collection[str]) -> ConfigError:
    """The error about a user, a password, a permission or a command that Redis refuses.

    Args:
        error: The error of redis-py.
        codes: The codes of errors about users.
    """
    if "unknown command" in str(error):
        return ConfigError(f"Redis refuses: {str(error).partition(',')[0]}. {IS_SENTINEL}")
    reason = _unauthorized(error, codes)
    lacks_rights = "NOPERM" in reason or "ACL failure" in reason
    return ConfigError(f"Redis refuses: {reason}. {RIGHTS if lacks_rights else CREDENTIALS}")


def _unauthorized(error: BaseException, codes: Collection[str]) -> str:
    """The text of an error about a user, a password or a permission, with its code, which redis-py cuts off."""
    text = str(error).removesuffix(".")
    code, _, rest = text.partition(" ")
    if code in codes:
        return f"{rest} ({code})"
    if isinstance(error, exceptions.NoPermissionError):
        return f"{text} (NOPERM)"
    if isinstance(error, exceptions.AuthenticationError):
        return f"{text} ({'WRONGPASS' if 'username-password' in text else 'NOAUTH'})"
    return text


def for_connection(url: str, text: str) -> str:
    """What to do about an error of a connection.

    Args:
        url: The masked URL.
        text: The text of the error.
    """
    for words, advice in _TLS:
        if any(word in text for word in words):
            return advice
    if any(word in text for word in _ENDED) and url.partition("://")[0] in SECURE.values():
        return "Start it there; if it wants certificates of clients, set tls_cert_file and tls_key_file."
    if url == DEFAULT_URL:  # nobody has set it
        return "Try 'jobfleet up MODULE', or set --url / JOBFLEET_URL."
    return "Start it there, or correct the URL."
