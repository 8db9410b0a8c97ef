"""What to do about a connection that Redis does not accept."""

from __future__ import annotations

from collections.abc import Collection

from redis import exceptions

from jobfleet.config.url import DEFAULT_URL, SECURE
from jobfleet.errors import ConfigError

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
