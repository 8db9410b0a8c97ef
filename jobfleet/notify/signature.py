"""Signatures of webhooks by the Standard Webhooks specification: HMAC-SHA256 over id, timestamp and body.

The headers are ``webhook-id``, ``webhook-timestamp`` (seconds since 1970) and ``webhook-signature``
(``v1,`` and base64). Libraries in many languages verify them.
"""

from __future__ import annotations

import base64
import binascii
import hashlib
import hmac
from collections.abc import Mapping

from jobfleet.clock import wall_us
from jobfleet.errors import ConfigError, JobfleetError

SECRET_PREFIX = "whsec_"
SECRET_LEAST = 16
TOLERANCE = 300.0


class SignatureRefused(JobfleetError):
    """A webhook's signature is wrong, or too old."""


def key_of(secret: str) -> bytes:
    """Return the key of a secret: the base64 after ``whsec_``, else the text itself.

    Args:
        secret: The secret.

    Raises:
        ConfigError: The key is shorter than 16 bytes, or not base64.
    """
    if secret.startswith(SECRET_PREFIX):
        try:
            key = base64.b64decode(secret.removeprefix(SECRET_PREFIX), validate=True)
        except binascii.Error:
            raise ConfigError(f"The webhook's secret is not base64 after {SECRET_PREFIX}.") from None
    else:
        key = secret.encode()
    if len(key) < SECRET_LEAST:
        raise ConfigError(f"The webhook's secret is too short; use {SECRET_LEAST} bytes or more.")
    return key


def sign(key: bytes, *, id: str, timestamp: int, body: bytes) -> str:
    """Return the value of ``webhook-signature``.

    Args:
        key: The key, from `key_of`.
        id: Id of the delivery.
        timestamp: Time of the delivery, in seconds since 1970.
        body: The body as it is sent.
    """
    signed = hmac.new(key, b"%s.%d.%s" % (id.encode(), timestamp, body), hashlib.sha256).digest()
    return f"v1,{base64.b64encode(signed).decode()}"


def verify_webhook(
    secret: str, headers: Mapping[str, str], body: bytes, *, tolerance: float = TOLERANCE, now: float | None = None
) -> str:
    """Verify a webhook on the side of the receiver.

    Args:
        secret: The secret of the channel.
        headers: Headers of the request; the case of their names does not matter.
        body: Body of the request, unchanged.
        tolerance: Largest difference between its timestamp and now, in seconds; default 300.
        now: Current time, in seconds since 1970; default the clock's.

    Returns:
        The id of the delivery. A repetition has the same id.

    Raises:
        SignatureRefused: The webhook was not signed with this secret, or its timestamp differs too much.

    Example:
        >>> delivery = verify_webhook(SECRET, request.headers, request.body)
    """
    lower = {name.lower(): value for name, value in headers.items()}
    delivery, stamp = lower.get("webhook-id", ""), lower.get("webhook-timestamp", "")
    if not delivery or not (stamp.isascii() and stamp.isdigit()):
        raise SignatureRefused("The webhook has no webhook-id or no webhook-timestamp.")
    if abs((wall_us() / 1e6 if now is None else now) - int(stamp)) > tolerance:
        raise SignatureRefused("The webhook's timestamp is too far from now.")
    expected = sign(key_of(secret), id=delivery, timestamp=int(stamp), body=body).encode()
    given = lower.get("webhook-signature", "").split(" ")
    if not any(hmac.compare_digest(expected, one.encode()) for one in given):
        raise SignatureRefused("The webhook's signature is wrong.")
    return delivery
