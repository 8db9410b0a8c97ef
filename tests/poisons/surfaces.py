"""Everything that reads the keys of a fleet: pages and routes, duties, commands, the doctor, and workers."""

from __future__ import annotations

import asyncio
import re
import sys
import threading
from collections.abc import Awaitable, Callable, Coroutine, Iterator, MutableMapping
from typing import Any, NamedTuple, cast

from click.testing import CliRunner

from jobfleet import Job
from jobfleet.cli.main import main
from jobfleet.operations.fleet_context import Published
from jobfleet.services.duties.leases import Leases
from jobfleet.store.aio import AsyncStore
from jobfleet.web.app import API, PAGES, WebApp
from jobfleet.web.live import Hub
from jobfleet.web.route import Page
from tests.poisons.world import KEYS, LANE, World, kind_of
from tests.support.key_poisons import KeyPoison
from tests.support.state import server_now

ENDS_WITHIN = 120
"""Seconds; a machine of tests may be busy."""
LEVELLED = ("lane grouped", "lane held")
"""Rows of the key table whose members a reaper puts back at the score 0."""
BODY_MOST = 1024 * 1024
QUERIES = (
    "/jobs?status=blocked", "/jobs?status=running", "/jobs?status=queued", "/jobs?status=scheduled", "/jobs?tag=eu",
    "/jobs?user=bob", "/jobs?function=w.one", "/jobs?text=wait", "/jobs?group=g2", "/jobs?status=failed",
    "/jobs?order=urgency", "/dead?tag=eu", "/dead?function=w.fails", "/dead/letters?tag=eu", "/audit?by=ann",
    "/history?function=w.full", "/history?queue=default", "/flows?open=yes", "/dead/letters/count?tag=eu",
)  # fmt: skip
COMMANDS = (
    "status {done}", "status {dead}", "status {parked}", "status {held}", "status wait1", "jobs", "jobs --tag eu",
    "jobs --status blocked", "logs {done}", "stream {done}", "explain {parked}", "explain {held}", "explain wait1",
    "explain default.0.grouped2", "flow ls", "flow show {flow}", "queues ls", "queues spread", "workers ls",
    "workers show {worker}", "dead ls", "dead groups", "dead show {dead}", "dead rescues", "dead rescues {rescue}",
    "cron ls", "cron history nightly", "cron preview nightly", "limits ls", "limits named", "groups ls",
    "groups show acme", "breakers ls", "audit", "stats", "stats default", "scale default", "notify ls", "doctor",
    "archive status",
)  # fmt: skip
LISTS = (
    "/jobs", "/flows", "/rescues", "/dead", "/dead/letters", "/cron", "/workers", "/functions", "/queues", "/limits",
    "/sequences",
)  # fmt: skip


_KEY = re.compile(r"\{jobfleet(?::[a-z]+:\d+)?\}:[^ \"]+")


def _touched(monitor: Any, number: int) -> set[str]:
    """The rows of the key table of which the server has seen a key, between two marks."""
    keys: set[str] = set()
    is_begun = False
    while True:
        command = str(monitor.next_command()["command"])
        if command.endswith(f" end {number}"):
            return {kind for key in keys if not (kind := kind_of(key)).startswith("unknown")}
        if is_begun:
            keys.update(_KEY.findall(command))
        is_begun = is_begun or command.endswith(f" begin {number}")


class Surface(NamedTuple):
    """Something that reads.

    Attributes:
        name: Its name.
        group: page, route, duty, command, doctor or job.
        read: Reads; returns what is wrong, or an empty text.
    """

    name: str
    group: str
    read: Callable[[], Awaitable[str]]


class Surfaces:
    """All surfaces of a world."""

    def __init__(self, world: World) -> None:
        self.world = world
        self.app = WebApp(world.fleet)
        cast(Any, self.app._inner)._rate.wait = lambda _: 0.0  # as if each request came from another address
        self.seen: dict[str, frozenset[str]] = {}
        self.shown: dict[str, frozenset[str]] = {}
        self.codes: dict[str, int] = {}
        self.status: dict[str, int] = {}

    def paths(self) -> Iterator[tuple[Page | None, str]]:
        """An address of each page for each thing that it may show."""
        names = self.world.names
        jobs = ("done", "dead", "parked", "held", "brief", "again", "child", "later")
        known = {
            "/queues/{name}": ["default"], "/scale/{name}": ["default"], "/sequences/{name}": ["acme"],
            "{function}": ["w.full"],
            "{fingerprint}": [names["group"], names["group2"]], "{rescue}": self.world.rescues,
            "{flow}": [names["flow"], names["flow2"], names["flow3"]], "{entry}": ["nightly", "weekly"],
            "/workers/{id}": [names["worker"]], "/jobs/{id}": [names[one] for one in jobs],
        }  # fmt: skip
        for page in PAGES:
            if page.has_events:
                yield page, page.path.replace("{id}", names["done"])
                continue
            choices = next((found for mark, found in known.items() if mark in page.path), [""])
            for choice in choices:
                yield page, re.sub(r"\{\w+\}", choice, page.path)
        yield from ((None, path) for path in QUERIES)

    def all(self) -> list[Surface]:
        """Every surface, with a name that stays the same."""
        names = {value: name for name, value in self.world.names.items()}

        def stable(path: str) -> str:
            return "/".join(names.get(part, part) for part in path.split("/"))

        found: list[Surface] = []
        for page, path in self.paths():
            if page is None or page.template:
                found.append(Surface(f"page {stable(path)}", "page", self._get(path)))
            if page is not None:
                api = (
                    re.sub(r"\{\w+\}", path.rpartition("/")[2], page.api_path)
                    if "{" in page.api_path
                    else page.api_path
                )
                if "{id}/" in page.path:
                    api = path
                found.append(Surface(f"route {stable(api)}", "route", self._get(API + api)))
            else:
                found.append(Surface(f"route {stable(path)}", "route", self._get(API + path)))
        found += [Surface(f"duty {name}", "duty", self._turn(name)) for name in self.world.duty_names()]
        for line in COMMANDS:
            found.append(Surface(f"command {line}", "command", self._command(line)))
        found.append(Surface("jobs", "job", self._jobs()))
        return found

    async def readers(self) -> dict[str, list[Surface]]:
        """Which surfaces touch a key of each row of the key table, as the server sees it."""
        every = {one.name: one for one in self.all()}
        if self.world.readers:
            self.shown = self.world.shown
            return {kind: [every[name] for name in names] for kind, names in self.world.readers.items()}
        found: dict[str, list[Surface]] = {}
        watching: Any = self.world.raw
        with watching.monitor() as monitor:
            for number, surface in enumerate(every.values()):
                self.world.restore()
                self.world.raw.echo(f"begin {number}")
                assert not (problem := await surface.read()), f"{surface.name}, without a poison: {problem}"
                self.world.raw.echo(f"end {number}")
                for kind in _touched(monitor, number):
                    found.setdefault(kind, []).append(surface)
        self.world.shown = self.shown = dict(self.seen)
        self.world.readers = {kind: [one.name for one in some] for kind, some in found.items()}
        return found

    async def problem(self, surface: Surface, poison: KeyPoison) -> str:
        """Write a poison, and let a surface read; what is wrong then, or an empty text."""
        self.world.restore()
        execute: Any = self.world.raw.execute_command
        former = execute("HGET", poison.key, poison.row) if self.world.raw.type(poison.key) == b"hash" else b""
        for command in poison.commands:
            execute(*command)
        if poison.kind in LEVELLED and surface.group in ("page", "route", "command"):
            await self._look()  # a script that only reads cannot mend what a tick mends within a second
        self.seen.clear()
        reading = asyncio.ensure_future(cast("Coroutine[Any, Any, str]", surface.read()))
        await asyncio.wait([reading], timeout=ENDS_WITHIN)  # it waits for nothing that swallows a cancellation
        if not reading.done():
            frames = [f"{frame.f_code.co_qualname} line {frame.f_lineno}" for frame in reading.get_stack()]
            sys.stderr.write(f"{poison.name} | {surface.name} has not ended: {', '.join(frames)}\n")  # the loop may not
            return f"has not ended after {ENDS_WITHIN} s"
        problem = reading.result()
        if not problem and poison.of == "row":
            spoken = b" ".join(part if isinstance(part, bytes) else str(part).encode() for part in poison.commands[0])
            for path, tokens in self.seen.items():
                own = spoken + poison.key + (former or b"")  # what was in the row is gone with it
                hidden = sorted(one for one in self.shown[path] - tokens if one.encode() not in own)
                if hidden:
                    return f"hides {', '.join(hidden)}"
        return problem

    # ------------------------------------------------------------------ pages and routes

    def _get(self, path: str) -> Callable[[], Awaitable[str]]:
        async def read() -> str:
            status, body = await self.asked(path)
            self.status[path] = status
            if status >= 500:
                return f"{status} {body[:3000].decode('utf-8', 'replace')}"
            if len(body) > BODY_MOST:
                return f"{len(body):,} bytes"
            if path in LISTS:
                self.seen[path] = frozenset(token for token in self.world.tokens if token.encode() in body)
            return ""

        return read

    async def asked(self, path: str) -> tuple[int, bytes]:
        """Get an address from a dashboard that has seen nothing before."""
        dashboard = self.app.dashboard
        dashboard.hub = Hub(dashboard.config.web_streams)
        dashboard.fleet.context.queues.clear()
        dashboard.fleet.context.published = Published()
        return await asyncio.wait_for(asked(self.app, path), 30)

    # ------------------------------------------------------------------ duties

    def _turn(self, name: str) -> Callable[[], Awaitable[str]]:
        async def read() -> str:
            store = AsyncStore(self.world.fleet.store.at, patience=5)
            try:
                for duty in self.world.duties(store):
                    if duty.name == name:
                        for turn in range(3):
                            try:
                                await asyncio.wait_for(duty.turn(), 30)
                            except Exception as error:
                                if turn == 2:  # the first turn may repair
                                    return f"{type(error).__name__}: {error}"[:400]
                    await duty.stop()
            finally:
                await store.close()
            return ""

        return read

    # ------------------------------------------------------------------ commands

    def _command(self, line: str) -> Callable[[], Awaitable[str]]:
        async def read() -> str:
            args = line.format(**self.world.names).split()
            env = {
                "JOBFLEET_URL": self.world.fleet.config.url,
                "JOBFLEET_ARCHIVE_URL": self.world.fleet.config.archive_url,
            }
            result = await asyncio.to_thread(CliRunner().invoke, main, args, env=env, prog_name="jobfleet")
            if result.exception is not None and not isinstance(result.exception, SystemExit):
                return f"{type(result.exception).__name__}: {result.exception}"[:400]
            code = result.exit_code
            usual = self.codes.setdefault(line, code)
            if code not in {usual, 0, 3} and line != "doctor":
                return f"exit code {code}: {result.output[-300:]}"
            return f"{len(result.output):,} characters" if len(result.output) > BODY_MOST else ""

        return read

    # ------------------------------------------------------------------ jobs

    def _jobs(self) -> Callable[[], Awaitable[str]]:
        """Claim, run, settle, and recover the jobs of a worker that is gone."""

        async def read() -> str:
            world = self.world
            lost = (
                [job for job in world.running if world.raw.zscore(LANE.lease, job) is not None]
                if world.raw.type(LANE.lease) == b"zset"
                else []
            )
            for job in lost:
                world.raw.zadd(LANE.lease, {job: server_now(world.raw) - 1_000_000})
            counts: dict[str, int] = {}
            world.runs = counts
            places: dict[str, dict[str, Any]] = {
                "fresh1": {}, "fresh2": {"group": "fresh"}, "fresh3": {"group": "line", "order": "strict"},
                "fresh4": {"group": "line", "order": "strict"},
            }  # fmt: skip
            names = [*places]
            fleet = world.fleet

            def work() -> str:
                try:
                    ids = [fleet.enqueue(Job(name, "w.counted", (name,), id=name, **places[name])) for name in names]
                except Exception as error:
                    return f"enqueue: {type(error).__name__}: {error}"[:400]
                stop = threading.Event()
                thread = threading.Thread(target=fleet.run_worker, kwargs={"stop": stop, "slots": 20}, daemon=True)
                thread.start()
                try:
                    for _ in range(200):
                        try:
                            found = fleet.poll_many(ids)
                        except Exception as error:
                            return f"poll: {type(error).__name__}: {error}"[:400]
                        if all(one is not None and one.status.is_final for one in found):
                            break
                        asyncio.run(self._look())
                        stop.wait(0.03)
                    else:
                        return f"not done: {[one and str(one.status) for one in found]}"
                finally:
                    stop.set()
                    thread.join(60)
                words = [str(one.status) for one in found if one is not None]
                if words != ["completed"] * len(names) or counts != dict.fromkeys(names, 1):
                    return f"{words}, runs {counts}"
                return ""

            return await asyncio.to_thread(work)

        return read

    async def _look(self) -> None:
        store = AsyncStore(self.world.fleet.store.at, patience=5)
        try:
            await Leases(store, KEYS, self.world.fleet.config, self.world.mute).turn()
        finally:
            await store.close()


async def asked(app: WebApp, path: str) -> tuple[int, bytes]:
    """Get an address, as a browser does; of a stream its first part."""
    path, _, query = path.partition("?")
    scope: dict[str, Any] = {
        "type": "http", "asgi": {"version": "3.0"}, "http_version": "1.1", "method": "GET", "scheme": "http",
        "path": path, "raw_path": path.encode(), "query_string": query.encode(), "root_path": "",
        "headers": [(b"host", b"127.0.0.1:8000")], "client": ("127.0.0.1", 5), "server": ("127.0.0.1", 8000),
    }  # fmt: skip
    is_over = asyncio.Event()
    status, body = 0, b""

    async def receive() -> dict[str, Any]:
        await is_over.wait()
        return {"type": "http.disconnect"}

    async def send(message: MutableMapping[str, Any]) -> None:
        nonlocal status, body
        if message["type"] == "http.response.start":
            status = message["status"]
        else:
            body += message.get("body", b"")
            if body or not message.get("more_body"):
                is_over.set()

    await app(scope, receive, send)
    return status, body
