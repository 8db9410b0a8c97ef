"""The settings of trust: keys, signatures, encryption, and the audit."""

from __future__ import annotations

from dataclasses import dataclass

from jobfleet.config.connection import ConnectionSettings
from jobfleet.config.kind import COUNT, KEYRING, LEVEL, WORDS
from jobfleet.config.setting import setting
from jobfleet.secret import NAMES


@dataclass(frozen=True, slots=True, kw_only=True)
class TrustSettings(ConnectionSettings):
    """The settings of trust; see `JobConfig`."""

    keyring: str | None = setting(
        KEYRING,
        None,
        "File with the keys that sign and encrypt jobs, or the keys themselves (keys:ID=SECRET).",
        scope="all",
        derived="no keys",
    )
    sign: str = setting(
        LEVEL, "off", "Sign what is written; with 'require', also refuse what is not signed.", scope="all"
    )
    encrypt: str = setting(
        LEVEL,
        "off",
        "Encrypt and sign what is written; with 'require', also refuse what is not encrypted.",
        scope="all",
    )
    bind_namespace: str = setting(
        LEVEL,
        "off",
        "Bind all that is sealed to the namespace; with 'require', also refuse what is not bound.",
        scope="all",
    )
    redact: tuple[str, ...] = setting(
        WORDS, NAMES, "Names of keys whose values are shown as ***; empty for none.", scope="all"
    )
    audit_max: int = setting(
        COUNT, 10_000, "Maximum number of actions of operators in the audit; 0 records none.", scope="all",
        unit="actions", least=0, most=1_000_000,
    )  # fmt: skip
