"""URLs of clusters."""

from __future__ import annotations

import pytest

from jobfleet.config import mask_url
from jobfleet.errors import ConfigError
from jobfleet.store.target import ClusterSeeds, Security, target

MODEL = "cluster://HOST:6379,HOST:6379"
NO_HOST = f"a host is not valid; write the hosts as {MODEL}"
ONE_DATABASE = f"a cluster has only the database 0; write the URL as {MODEL}"


def read(url: str, security: Security | None = None) -> ClusterSeeds:
    found = target(url, security or Security()).cluster
    assert found is not None
    return found


def test_a_url_names_nodes_user_and_password() -> None:
    found = read("cluster://ann:p%40ss@one:7000,[fd00::7]:7001,two/0?db=0&client_name=x")

    assert found.hosts == (("one", 7000), ("fd00::7", 7001), ("two", 6379))
    assert found.options == {"username": "ann", "password": "p@ss", "client_name": "x"}
    assert not found.is_secure
    assert [found.url_of(host) for host in found.hosts[:2]] == ["redis://one:7000/0", "redis://[fd00::7]:7001/0"]
    assert "p@ss" not in repr(found)


def test_tls_comes_from_the_settings_and_the_url_wins() -> None:
    security = Security({"ssl_ca_certs": "ca.pem", "ssl_check_hostname": True})

    found = read("clusters://one?ssl_check_hostname=false", security)

    assert found.options == {"ssl_ca_certs": "ca.pem", "ssl_check_hostname": False}
    assert found.url_of(("one", 1)) == "rediss://one:1/0"


@pytest.mark.parametrize(
    ("url", "wrong"),
    [
        ("cluster://", NO_HOST),
        ("cluster://one,,two", NO_HOST),
        ("cluster://one:0", NO_HOST),
        ("cluster://one:99999", NO_HOST),
        ("cluster://one:x", NO_HOST),
        ("cluster://fd00::7", NO_HOST),
        ("cluster://one/1", ONE_DATABASE),
        ("cluster://one/jobs", ONE_DATABASE),
        ("cluster://one?db=2", ONE_DATABASE),
        ("cluster://one?db=x", "Invalid value for 'db' in connection URL"),
        ("cluster://one?colour=red", "an option after its '?' is not an option of a connection"),
        ("cluster://u:p/w@one", "write '/', '?', '#' and '@' in a user or a password as %2F, %3F, %23 and %40"),
    ],
)
def test_a_url_that_cannot_be_meant_is_refused_without_its_text(url: str, wrong: str) -> None:
    with pytest.raises(ConfigError) as refused:
        target(url)

    assert str(refused.value) == f"Cannot read the URL {mask_url(url)}: {wrong}."


def test_settings_of_tls_are_refused_with_a_url_without_it() -> None:
    with pytest.raises(ConfigError, match="write clusters://, or remove the settings"):
        target("cluster://one", Security({"ssl_ca_certs": "ca.pem"}))
