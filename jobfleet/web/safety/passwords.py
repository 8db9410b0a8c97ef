"""Passwords and tokens, and what is stored of them: a scrypt hash with salt, and a SHA-256 hash."""

from __future__ import annotations

import hashlib
import hmac
import secrets

N, R, P = 2**15, 8, 1
"""The cost of scrypt: 32 MiB and about 0.1 s."""
MEMORY = 64 * 1024**2
SALT_BYTES, KEY_BYTES, TOKEN_BYTES = 16, 32, 32
PASSWORD_MOST = 1024
TOKEN_PREFIX = "jft_"


def hash_password(password: str) -> str:
    """Hash a password: ``scrypt$n$r$p$salt$key``."""
    salt = secrets.token_bytes(SALT_BYTES)
    return f"scrypt${N}${R}${P}${salt.hex()}${_key(password, salt, N, R, P).hex()}"


def is_password(password: str, stored: str) -> bool:
    """Whether a password has this hash; a hash that cannot be read fits none."""
    try:
        kind, n, r, p, salt, key = stored.split("$")
        if kind != "scrypt" or len(password) > PASSWORD_MOST:
            return False
        return hmac.compare_digest(_key(password, bytes.fromhex(salt), int(n), int(r), int(p)), bytes.fromhex(key))
    except ValueError:
        return False


def _key(password: str, salt: bytes, n: int, r: int, p: int) -> bytes:
    text = password.encode("utf-8", "surrogatepass")
    return hashlib.scrypt(text, salt=salt, n=n, r=r, p=p, maxmem=MEMORY, dklen=KEY_BYTES)


def new_token() -> str:
    """Make a token of 256 random bits."""
    return TOKEN_PREFIX + secrets.token_urlsafe(TOKEN_BYTES)


def hash_token(token: str) -> str:
    """Hash a token. It is random, so that a fast hash is enough."""
    return hashlib.sha256(token.encode("utf-8", "surrogatepass")).hexdigest()
