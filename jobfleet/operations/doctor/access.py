"""Checks of how this process reaches the server: user, TLS, clocks of workers. Pure."""

from __future__ import annotations

import ipaddress
from urllib.parse import urlsplit

from jobfleet.clock import span
from jobfleet.config.keyring import REQUIRE
from jobfleet.operations.doctor.findings import Finding, Level, named
from jobfleet.operations.doctor.snapshot import Checkup
from jobfleet.operations.explain.reasons import counted
from jobfleet.operations.workers.info import WorkerInfo
from jobfleet.store.acl import DEFAULT, user_of

PAGE = "docs/howto/redis-users.md"
KEYS_PAGE = "docs/howto/signing-and-encryption.md"
AHEAD, BEHIND = 1.0, 5.0
"""Seconds; a clock may only seem to be behind, because a heartbeat can be sent again later."""


def user(seen: Checkup) -> Finding:
    """Whether this user may do what it is for, and nobody connects without a password."""
    name = user_of(seen.config.url)
    text = f"Connected as {name}."
    if seen.lacking:
        what = named([command.replace("\n", " ") for command in seen.lacking])
        text = f"{text} It may not run {counted(len(seen.lacking), 'command')} that the role {seen.role} needs: {what}."
        return Finding("user", Level.WARNING, text, f"Load the users of this version of jobfleet: {PAGE}.")
    if seen.is_open and not is_local(seen.config.url):
        text = f"{text} Anybody who reaches the server can connect as {DEFAULT}, without a password."
        return Finding("user", Level.WARNING, text, f"Create users, then ACL SETUSER default off: {PAGE}.")
    if seen.is_open:
        return Finding("user", Level.OK, f"{text} Everybody on this machine can connect as {DEFAULT}.")
    if seen.lacking is None:
        return Finding("user", Level.OK, f"{text} The server does not report what it may do.")
    return Finding("user", Level.OK, f"{text} It may run every command that the role {seen.role} needs.")


def tls(seen: Checkup) -> Finding:
    """Whether connections are encrypted, and the certificate is checked."""
    url = seen.config.url
    scheme, where = url.partition("://")[0].lower(), urlsplit(url)
    if scheme in ("rediss", "sentinels", "clusters"):
        if "ssl_cert_reqs=none" in where.query or not seen.config.tls_check_hostname:
            text = "Connections are encrypted, but the server's certificate, or the host name in it, is not checked."
            return Finding("tls", Level.WARNING, text, "Remove tls_check_hostname=false and ssl_cert_reqs=none.")
        return Finding("tls", Level.OK, "Connections are encrypted, and the server's certificate is checked.")
    if is_local(url):
        return Finding("tls", Level.OK, "The server is on this machine; connections are not encrypted.")
    text = "Connections to another machine are not encrypted: who reads the network reads jobs and the password."
    return Finding("tls", Level.WARNING, text, f"Use {scheme}s://, as docs/howto/sentinel-and-tls.md describes.")


def keys(seen: Checkup) -> Finding:
    """Whether what is sealed must name its fleet."""
    if seen.config.keyring is None:
        return Finding("keys", Level.OK, "No keyring: nothing is signed or encrypted.")
    if seen.config.bind_namespace == REQUIRE:
        return Finding("keys", Level.OK, "What is sealed must name this fleet.")
    unbound = sum(row.is_unbound for one in seen.lanes for row in one.waiting)
    text = f"What is sealed need not name its fleet (bind_namespace = {seen.config.bind_namespace}): "
    if unbound:
        text += f"{counted(unbound, 'waiting job')} that were looked at do not, and run in each fleet with these keys."
    else:
        text += "jobs and values of older revisions are taken from each fleet with these keys."
    remedy = "Once all processes are of this revision: bind_namespace = 'send' everywhere, then 'require'."
    return Finding("keys", Level.WARNING, text, f"{remedy} See {KEYS_PAGE}.")


def clocks(seen: Checkup) -> Finding:
    """Whether the clocks of the workers' machines agree with the server's."""
    off = [one for one in seen.alive if one.ahead > AHEAD or one.ahead < -BEHIND]
    known = [one for one in seen.alive if one.ahead]
    if not off:
        text = f"{counted(len(known), 'clock')} of workers looked at; each agrees with the server's."
        return Finding("clocks", Level.OK, text)
    return Finding(
        "clocks",
        Level.WARNING,
        f"{counted(len(off), 'clock')} of workers differ from the server's: {named([_by(one) for one in off])}.",
        "Let NTP set them: their jobs see wrong times, and due times given there as dates are off.",
    )


def _by(worker: WorkerInfo) -> str:
    return f"{worker.id} is {span(abs(worker.ahead))} {'ahead' if worker.ahead > 0 else 'behind'}"


def is_local(url: str) -> bool:
    """Whether all hosts of a URL are this machine."""
    parts = urlsplit(url)
    if parts.scheme in ("unix", "embedded", "memory"):
        return True
    return all(map(_is_loopback, parts.netloc.rpartition("@")[2].split(",")))


def _is_loopback(address: str) -> bool:
    host = address.partition("]")[0].strip("[") if address.startswith("[") else address.partition(":")[0]
    try:
        return host in ("localhost", "") or ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False
