"""What comes back: words, and errors sorted by what can be done about them."""

from __future__ import annotations

from enum import Enum, auto
from typing import Any

from redis import exceptions

from jobfleet.errors import ConfigError, FleetFull, JobfleetError, ScriptContractError, StoreUnavailable
from jobfleet.store.call import Call, Reply

AGAIN_WORDS = (
    "LOADING", "READONLY", "MASTERDOWN", "CLUSTERDOWN", "TRYAGAIN", "MISCONF", "NOREPLICAS", "BUSY", "UNBLOCKED",
    "max number of clients",
)  # fmt: skip
REFUSED_WORDS = ("NOAUTH", "WRONGPASS", "NOPERM", "ACL failure", "invalid username-password", "without any password")
CONNECTION_ERRORS = (
    exceptions.ConnectionError,
    exceptions.TimeoutError,
    exceptions.BusyLoadingError,
    ConnectionError,
    TimeoutError,
    OSError,
)


AGAIN_ERRORS = (
    exceptions.ReadOnlyError,
    exceptions.ClusterDownError,
    exceptions.TryAgainError,
)
"""redis-py takes the first word off a text that it knows, and gives it a class instead."""


class Remedy(Enum):
    """What to do about an error."""

    LOAD = auto()
    AGAIN = auto()
    RAISE = auto()


def remedy(error: BaseException) -> Remedy:
    """Sort an error of the server or of the connection."""
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


def translate(error: BaseException, call: Call[Any] | None = None) -> JobfleetError:
    """The error of ours that a final error of the server stands for."""
    text = str(error)
    if isinstance(error, JobfleetError):
        return error
    if text.startswith("OOM") or isinstance(error, exceptions.OutOfMemoryError):
        return FleetFull()
    if isinstance(error, exceptions.AuthenticationError | exceptions.NoPermissionError) or any(
        word in text for word in REFUSED_WORDS
    ):
        return ConfigError(f"Redis refused: {text.removesuffix('.')}. Check user and password in --url / JOBFLEET_URL.")
    what = f"{call.script.name}: " if call else ""
    return ScriptContractError(f"{what}{text}")


def word(reply: Any, call: Call[Any]) -> Reply:
    """Return a reply whose first word its contract names."""
    if isinstance(reply, list) and reply and isinstance(reply[0], bytes) and reply[0] in call.script.words:
        return reply
    raise ScriptContractError(f"{call.script.name} answered {reply!r:.200}, which its contract does not name.")


def unavailable(url: str, error: BaseException) -> StoreUnavailable:
    """The error to raise when patience is at its end; `url` must be masked."""
    reason = (
        "connection refused" if "refused" in str(error).lower() or "Error 111" in str(error) else str(error).rstrip(".")
    )
    if isinstance(error, FileNotFoundError) or "No such file" in reason:
        reason = "no such socket"
    return StoreUnavailable(
        f"No Redis at {url} ({reason or type(error).__name__}). Try 'jobfleet up MODULE', or set --url / JOBFLEET_URL."
    )
