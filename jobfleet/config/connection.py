"""The settings of the connection to Redis: the first rows of the table of all settings."""
# ruff: noqa: RUF009  (`setting` is a `field`)

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from jobfleet.config.kind import FILE, FLAG, NAME, SECRET, TEXT, URL, choice
from jobfleet.config.setting import setting
from jobfleet.config.url import DEFAULT_URL


@dataclass(frozen=True, slots=True, kw_only=True)
class ConnectionSettings:
    """The settings of the connection to Redis; see `JobConfig`."""

    url: str = setting(URL, DEFAULT_URL, "URL of the Redis server.", scope="all")
    tls_ca_file: Path | None = setting(
        FILE, None, "Certificates of the authorities that Redis's certificate is checked against.", scope="all",
        derived="those of the system",
    )  # fmt: skip
    tls_cert_file: Path | None = setting(
        FILE, None, "Certificate of this client, if Redis asks for one.", scope="all", derived="no certificate"
    )
    tls_key_file: Path | None = setting(
        FILE, None, "Key of the client's certificate.", scope="all", derived="in tls_cert_file"
    )
    tls_check_hostname: bool = setting(
        FLAG, True, "Check that Redis's certificate is for the host in the URL.", scope="all"
    )
    sentinel_username: str | None = setting(
        TEXT, None, "User of the Sentinels, if they have users of their own.", scope="all", derived="none"
    )
    sentinel_password: str | None = setting(
        SECRET, None, "Password of the Sentinels. The URL has that of the primary.", scope="all", derived="none"
    )
    scripts: str = setting(
        choice("eval", "functions"), "eval",
        "How the server runs jobfleet's scripts: it is sent them, or it has the functions of 'jobfleet acl install'.",
        scope="all",
    )  # fmt: skip
    namespace: str = setting(
        NAME, "jobfleet", "Prefix of every key; fleets with different namespaces are independent.", scope="all"
    )
