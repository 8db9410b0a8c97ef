"""The producer of the page about HTTP, which Node runs as the page prints it: an outage does not end it."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from jobfleet import Fleet
from jobfleet.codec import encode
from jobfleet.functions.manifest import function_record
from jobfleet.functions.registry import Registry
from jobfleet.store.calls.presence import beat
from jobfleet.web.safety.access import AccessFile, Role
from tests.cli.hand import Hand
from tests.support.pages import DOCS, blocks_of
from tests.support.server import RedisServer
from tests.support.tools import tool
from tests.support.waiting import wait_until
from tests.web.site import served

pytestmark = tool("node")
PATH = f"{Path(sys.executable).parent}:/usr/local/bin:/usr/bin:/bin"


def ship(order: int) -> str:
    return f"{order}"


@pytest.fixture
def program(tmp_path: Path) -> Path:
    """The file that the page prints."""
    (block,) = (one for one in blocks_of(DOCS / "howto" / "http-api.md") if one.file == "producer.mjs")
    path = tmp_path / block.file
    path.write_text(block.body)
    return path


@pytest.fixture
def server() -> Iterator[RedisServer]:
    """A Redis that loses nothing when it is killed."""
    with RedisServer("--appendonly", "yes", "--appendfsync", "always") as server:
        yield server


def test_an_outage_of_redis_is_reported_and_the_states_go_on(
    program: Path, server: RedisServer, tmp_path: Path
) -> None:
    access = AccessFile(tmp_path / "web.json")
    token = access.create_token("shop", Role.PRODUCER)
    out, errors = tmp_path / "out", tmp_path / "errors"
    with Fleet(server.url, registry=Registry(), patience=0.1, web_access=access.path) as fleet, served(fleet) as site:
        hand = Hand(fleet)
        record = function_record(Registry().register(ship, name="shop.ship"))
        call = beat(
            fleet.context.keys, "w1", account=encode({"queues": ["default"], "state": "running"}), gone_us=60_000_000,
            functions={"shop.ship": record},
        )  # fmt: skip
        hand.run(call)
        environment = {"PATH": PATH, "TOKEN": token}
        environment["API"] = f"http://127.0.0.1:{site.port}/api/v1"
        with out.open("wb") as shown, errors.open("wb") as reported, subprocess.Popen(
            ["node", program], env=environment, stdout=shown, stderr=reported
        ) as process:  # fmt: skip
            try:
                wait_until(lambda: "queued" in out.read_text() or process.poll() is not None, why="the job is followed")
                server.kill()
                wait_until(lambda: errors.read_text() or process.poll() is not None, why="the problem is reported")
                server.restart()
                (job,) = fleet.newest()
                hand.completes(hand.claims(job.id), "it is on its way")
                code = process.wait(30)
            finally:
                process.kill()

    assert (code, out.read_text().splitlines()[-1]) == (0, "it is on its way"), errors.read_text()
    assert errors.read_text().startswith("No Redis at ")


@pytest.mark.parametrize(("api", "why"), [(None, "API is undefined; give an address"), ("http://a b", "Invalid URL")])
def test_a_wrong_address_is_refused_at_once(program: Path, api: str | None, why: str) -> None:
    environment = {"PATH": PATH, "TOKEN": "x"} | ({} if api is None else {"API": api})

    done = subprocess.run(["node", program], env=environment, capture_output=True, text=True, timeout=30, check=False)

    assert done.returncode == 1
    assert why in done.stderr
