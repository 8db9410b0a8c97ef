"""Tokens that send a signal: a secret and the id of the job, in one text that is safe in URLs. Pure, but for chance."""

from __future__ import annotations

import hashlib
import secrets
from base64 import urlsafe_b64decode, urlsafe_b64encode

SECRET_BYTES = 24
"""Nobody guesses 192 random bits, however many tokens are tried."""
LONGEST = 600
"""Characters of a token."""


def new_token(job_id: str) -> str:
    """Make a token for a signal of a job."""
    return urlsafe_b64encode(secrets.token_bytes(SECRET_BYTES) + job_id.encode()).decode().rstrip("=")


def token_hash(token: str) -> str:
    """The hash under which a token is stored."""
    return hashlib.sha256(token.encode()).hexdigest()


def job_of_token(token: object) -> str | None:
    """The job that a token is for; None if the text is not a token."""
    if not isinstance(token, str) or not token.isascii() or len(token) > LONGEST:
        return None
    try:
        raw = urlsafe_b64decode(token + "=" * (-len(token) % 4))
        job_id = raw[SECRET_BYTES:].decode()
    except ValueError:
        return None
    return job_id or None
