"""Certificates of an authority of the tests' own: for servers that ask for those of their clients."""

from __future__ import annotations

from pathlib import Path

import trustme

HOST = "127.0.0.1"


class Certificates:
    """A certificate for servers of this machine and one for clients, as files.

    Args:
        folder: Where to write them.

    Attributes:
        arguments: The arguments of a server that uses them for clients, replicas and other nodes.
        settings: The settings of a client.
    """

    def __init__(self, folder: Path) -> None:
        authority = trustme.CA()
        authority.cert_pem.write_to_path(str(folder / "ca.pem"))
        for role, host in (("server", HOST), ("client", "worker.example.org")):
            pair = authority.issue_cert(host)
            pair.private_key_pem.write_to_path(str(folder / f"{role}.key"))
            pair.cert_chain_pems[0].write_to_path(str(folder / f"{role}.pem"))
        pairs = {
            "ca-cert-file": folder / "ca.pem",
            "cert-file": folder / "server.pem",
            "key-file": folder / "server.key",
            "auth-clients": "yes",
            "replication": "yes",
        }
        self.arguments: tuple[str, ...] = tuple(
            part for name, value in pairs.items() for part in (f"--tls-{name}", str(value))
        )
        self.settings: dict[str, str] = {
            "tls_ca_file": str(folder / "ca.pem"),
            "tls_cert_file": str(folder / "client.pem"),
            "tls_key_file": str(folder / "client.key"),
        }

    @property
    def options(self) -> dict[str, str]:
        """The same settings as options of a URL, and of clients of redis-py."""
        ca_file, cert_file, key_file = self.settings.values()
        return {"ssl_ca_certs": ca_file, "ssl_certfile": cert_file, "ssl_keyfile": key_file}

    @property
    def lines(self) -> list[str]:
        """The arguments as lines of a configuration."""
        return [f"{name[2:]} {value}" for name, value in zip(self.arguments[::2], self.arguments[1::2], strict=True)]
