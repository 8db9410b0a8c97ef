"""A served dashboard, and browsers and programs that send requests to it."""

from __future__ import annotations

import http.client
import json
import re
import socket
import threading
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import urlencode

from starlette.types import ASGIApp

from jobfleet import Fleet
from jobfleet.web.app import WebApp
from jobfleet.web.safety.identity import Identify
from jobfleet.web.server import Connections, bound, server_of
from tests.support.waiting import wait_until


@dataclass
class Answer:
    """An answer of the server."""

    status: int
    headers: http.client.HTTPMessage
    body: bytes

    @property
    def text(self) -> str:
        return self.body.decode()

    @property
    def json(self) -> Any:
        return json.loads(self.body)

    @property
    def code(self) -> str:
        """The code of a refusal."""
        return str(self.json["error"]["code"])


@dataclass
class Browser:
    """Sends requests as a browser does, with its cookies."""

    port: int
    cookies: dict[str, str] = field(default_factory=dict)
    host: str = ""

    def __post_init__(self) -> None:
        self.host = self.host or f"127.0.0.1:{self.port}"

    def send(
        self, method: str, path: str, headers: Mapping[str, str] | None = None, body: bytes | None = None
    ) -> Answer:
        """Send a request with these headers alone, and with the cookies."""
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=30)
        cookies = {"Cookie": self.cookie} if self.cookies else {}
        connection.request(method, path, body, {"Host": self.host, **cookies, **(headers or {})})
        response = connection.getresponse()
        answer = Answer(response.status, response.msg, response.read())
        connection.close()
        for line in answer.headers.get_all("Set-Cookie") or ():
            name, _, rest = line.partition("=")
            value = rest.partition(";")[0].strip('"')
            if value:
                self.cookies[name] = value
            else:
                self.cookies.pop(name, None)
        return answer

    def get(self, path: str, **headers: str) -> Answer:
        """Open a page, or read from the API."""
        return self.send("GET", path, {name.replace("_", "-"): value for name, value in headers.items()})

    @property
    def cookie(self) -> str:
        """The cookies as a header."""
        return "; ".join(f"{name}={value}" for name, value in self.cookies.items())

    @property
    def origin(self) -> str:
        return f"http://{self.host}"

    def csrf(self, page: str = "/queues") -> str:
        """The token in the forms of a page."""
        found = re.search(r'name="csrf" value="([0-9a-f]{64})"', self.get(page).text)
        assert found, f"{page} has no form"
        return found[1]

    def post(
        self, path: str, csrf: str | None = None, headers: Mapping[str, str] | None = None, **fields: str
    ) -> Answer:
        """Send a form as a browser does."""
        given = {
            "Content-Type": "application/x-www-form-urlencoded",
            "Origin": self.origin,
            "Sec-Fetch-Site": "same-origin",
        }
        sent = {**fields, **({} if csrf is None else {"csrf": csrf})}
        return self.send("POST", path, {**given, **(headers or {})}, urlencode(sent).encode())

    def call(self, path: str, token: str, **fields: object) -> Answer:
        """Write through the API as a program does."""
        headers = {"Authorization": f"Bearer {token}", "Content-Type": "application/json"}
        return self.send("POST", f"/api/v1{path}", headers, json.dumps(fields).encode())

    def log_in(self, name: str, password: str) -> Answer:
        """Log in with the form."""
        return self.post("/login", self.csrf("/login"), name=name, password=password, next="/")

    @contextmanager
    def stream(self, path: str, root: str = "/live", **headers: str) -> Iterator[Iterator[dict[str, str]]]:
        """The events of a live page."""
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=30)
        sent = {"Host": self.host, **{name.replace("_", "-"): value for name, value in headers.items()}}
        connection.request("GET", f"{root}{path}", headers=sent)
        response = connection.getresponse()
        try:
            assert response.status == 200, response.read()
            yield _events(response)
        finally:
            if connection.sock is not None:
                connection.sock.close()
            response.close()
            connection.close()


def _events(response: http.client.HTTPResponse) -> Iterator[dict[str, str]]:
    event: dict[str, str] = {}
    for raw in response:
        name, _, value = raw.decode().rstrip("\n").partition(": ")
        if name:
            event[name] = f"{event[name]}\n{value}" if name in event else value
        elif "data" in event:
            yield event
            event = {}


def _nothing() -> None:
    """A host application has no live updates of its own."""


class Site:
    """A dashboard that is served in a thread of this process, at a free port if none is given."""

    def __init__(self, application: ASGIApp | WebApp, port: int = 0, connections: Connections | None = None) -> None:
        self._socket: socket.socket = bound("127.0.0.1", port)
        self.port: int = self._socket.getsockname()[1]
        self.application = application
        close_streams = application.dashboard.hub.close if isinstance(application, WebApp) else _nothing
        trusts = application.dashboard.identity.entrance.trusts if isinstance(application, WebApp) else lambda _: False
        self._server = server_of(application, close_streams, connections or Connections(trusts))
        self._thread = threading.Thread(target=self._server.run, kwargs={"sockets": [self._socket]}, daemon=True)
        self._thread.start()
        wait_until(lambda: self._server.started, why="the dashboard is served")

    def browser(self, **more: Any) -> Browser:
        """A browser without cookies."""
        return Browser(self.port, **more)

    def close(self) -> None:
        """End it."""
        self._server.should_exit = True
        self._thread.join(30)
        self._socket.close()


@contextmanager
def served(fleet: Fleet, identify: Identify | None = None) -> Iterator[Site]:
    """Serve the dashboard of a fleet."""
    site = Site(WebApp(fleet, identify))
    try:
        yield site
    finally:
        site.close()
