"""Requests for the pages of a dashboard, and pages that stay open."""

from __future__ import annotations

import asyncio
import os
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import quote

from bench.setting import ROOT, Server, Trouble, free_port
from jobfleet import Fleet
from jobfleet.web.app import PAGES

APART = 0.25
"""Seconds between two requests for a page: requests that are closer share a read."""
OWN = {"info"}
"""Commands of this measurement itself."""
FILTERED = (
    "/jobs?status=queued", "/jobs?status=failed", "/jobs?tag=tag7", "/jobs?user=user7", "/dead?state=new",
    "/dead?user=user7", "/dead/letters?tag=tag7", "/dead/letters/count?user=user7", "/?since=48h",
)  # fmt: skip


@dataclass(frozen=True, slots=True)
class Cost:
    """What a page costs.

    Attributes:
        path: The page.
        first: Milliseconds to the first answer; the checkup of the doctor is shared for ten seconds.
        p50: The median time to its answer, in ms.
        p95: The 95th percentile.
        commands: Commands of Redis per request, those inside of scripts included.
        scripts: Scripts of these.
        size: Bytes of the answer.
    """

    path: str
    first: float
    p50: float
    p95: float
    commands: float
    scripts: float
    size: int


class Site:
    """`jobfleet web` in a process of its own."""

    def __init__(self, server: Server, folder: Path) -> None:
        self.port = free_port()
        command = [sys.executable, "-m", "jobfleet", "web", f"--url={server.url}", f"--port={self.port}"]
        environ = {name: value for name, value in os.environ.items() if not name.startswith("JOBFLEET_")}
        environ |= {"JOBFLEET_WEB_ACCESS": str(folder / "web.json"), "JOBFLEET_WEB_OPEN_ROLE": "admin"}
        environ |= {"JOBFLEET_WEB_OPEN_ACCESS": "true", "JOBFLEET_WEB_STREAMS": "800"}
        with (folder / "web.log").open("wb") as log:
            self.process = subprocess.Popen(
                command, cwd=ROOT, env=environ, stdin=subprocess.DEVNULL, stdout=log, stderr=log
            )
        self._log = folder / "web.log"

    def await_ready(self) -> None:
        """Wait until it answers."""
        until = time.monotonic() + 60
        while time.monotonic() < until:
            with suppress(OSError):
                self.get("/healthz")
                return
            time.sleep(0.1)  # between looks
        raise Trouble(f"the dashboard does not answer: {self._log.read_text()[-500:]}")

    def get(self, path: str) -> bytes:
        """Open a page."""
        with urllib.request.urlopen(f"http://127.0.0.1:{self.port}{path}", timeout=60) as answer:
            return bytes(answer.read())

    def cpu(self) -> float:
        """Seconds of CPU that it has used."""
        tasks = Path(f"/proc/{self.process.pid}/task").iterdir()
        return sum(int((task / "schedstat").read_text().split()[0]) for task in tasks) / 1e9

    def close(self) -> None:
        """End it."""
        self.process.terminate()
        self.process.wait(30)


@contextmanager
def served(server: Server, folder: Path) -> Iterator[Site]:
    """Serve the dashboard of a fleet."""
    site = Site(server, folder)
    try:
        site.await_ready()
        yield site
    finally:
        site.close()


def samples(fleet: Fleet) -> Mapping[str, str]:
    """A value for each part of a path that is a parameter."""
    letter = fleet.dead(limit=1)
    return {
        "/queues/{name}": "orders",
        "/jobs/{id}": letter[0].id,
        "/jobs/{id}/logs": letter[0].id,
        "/dead/{fingerprint}": letter.fingerprints[0],
        "/rescues/{rescue}": fleet.rescues()[0].id,
        "/flows/{flow}": fleet.flows()[0][0],
        "/cron/{entry}": fleet.cron(limit=1)[0].name,
    }


def paths(fleet: Fleet) -> list[str]:
    """The pages, those with a parameter for one value, and some with filters."""
    known = samples(fleet)
    found: list[str] = []
    for page in PAGES:
        if page.template and "{" not in page.path:
            found.append(page.path)
        elif page.template and page.path in known:
            found.append(page.path[: page.path.index("{")] + quote(known[page.path]))
    return [*found, *FILTERED]


def measure(site: Site, server: Server, path: str, count: int) -> Cost:
    """Request a page so many times."""
    times: list[float] = []
    began = time.perf_counter()
    body = site.get(path)
    first = 1000 * (time.perf_counter() - began)
    before = _calls(server)
    for _ in range(count):
        time.sleep(APART)
        began = time.perf_counter()
        try:
            body = site.get(path)
        except urllib.error.HTTPError as error:
            raise Trouble(f"{path} answers {error.code}: {error.read()[:300]!r}") from None
        times.append(1000 * (time.perf_counter() - began))
    after = _calls(server)
    times.sort()
    commands = sum(after.values()) - sum(before.values())
    scripts = sum(after.get(name, 0) - before.get(name, 0) for name in ("evalsha", "eval", "evalsha_ro"))
    return Cost(
        path, first, times[len(times) // 2], times[min(len(times) - 1, len(times) * 95 // 100)], commands / count,
        scripts / count, len(body),
    )  # fmt: skip


def _calls(server: Server) -> dict[str, int]:
    rows = server.raw.info("commandstats")
    return {
        name.removeprefix("cmdstat_"): int(row["calls"])
        for name, row in rows.items()
        if name.removeprefix("cmdstat_") not in OWN
    }


async def watch(site: Site, opened: list[str], seconds: float) -> tuple[int, int]:
    """Keep pages open; return how many events and bytes they got."""
    got = [0, 0]

    async def one(path: str) -> None:
        reader, writer = await asyncio.open_connection("127.0.0.1", site.port)
        writer.write(f"GET /live{path} HTTP/1.1\r\nHost: 127.0.0.1:{site.port}\r\n\r\n".encode())
        try:
            while chunk := await reader.read(1 << 16):
                got[0] += chunk.count(b"\nid: ") + chunk.startswith(b"id: ")
                got[1] += len(chunk)
        finally:
            writer.close()

    tasks = [asyncio.create_task(one(path)) for path in opened]
    await asyncio.sleep(seconds)  # the time that is measured
    if ended := [task for task in tasks if task.done()]:
        raise Trouble(f"{len(ended)} live pages have ended")
    for task in tasks:
        task.cancel()
    await asyncio.gather(*tasks, return_exceptions=True)
    return got[0], got[1]
