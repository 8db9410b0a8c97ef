"""A served dashboard of an empty fleet, whose worker a hand plays."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from jobfleet import Fleet
from jobfleet.functions.registry import Registry
from jobfleet.web.safety import access as passwords
from jobfleet.web.safety.access import AccessFile, Role
from tests.cli.hand import Hand
from tests.web.site import Browser, Site, served

PASSWORD = "correct horse"


@pytest.fixture
def cheap(monkeypatch: pytest.MonkeyPatch) -> None:
    """Passwords of tests are hashed at a low cost."""
    monkeypatch.setattr(passwords, "N", 2**10)


@pytest.fixture
def access(tmp_path: Path, cheap: None) -> AccessFile:
    """The access file of the dashboard; it does not exist yet."""
    return AccessFile(tmp_path / "own" / "web.json")


@pytest.fixture
def make_fleet(redis_url: str, access: AccessFile) -> Iterator[Callable[..., Fleet]]:
    """Make a fleet with settings, open to this machine; it is closed after the test."""
    made: list[Fleet] = []

    def make(**settings: object) -> Fleet:
        settings.setdefault("web_open_access", True)
        fleet = Fleet(redis_url, registry=Registry(), web_access=access.path, **settings)  # type: ignore[arg-type]
        made.append(fleet)
        return fleet

    yield make
    for fleet in made:
        fleet.close()


@pytest.fixture
def fleet(make_fleet: Callable[..., Fleet]) -> Fleet:
    return make_fleet(web_open_role="admin")


@pytest.fixture
def hand(fleet: Fleet) -> Hand:
    """Plays the worker `w1`."""
    hand = Hand(fleet)
    hand.knows("demo.add", "demo.fail")
    return hand


@pytest.fixture
def site(fleet: Fleet) -> Iterator[Site]:
    with served(fleet) as site:
        yield site


@pytest.fixture
def browser(site: Site) -> Browser:
    return site.browser()


@pytest.fixture
def tokens(access: AccessFile) -> dict[Role, str]:
    """A token of each role."""
    return {role: access.create_token(f"of-{role}", role) for role in Role}


@pytest.fixture
def users(access: AccessFile) -> None:
    """A user of each role, named like it."""
    for role in Role:
        access.add_user(str(role), role, PASSWORD)
