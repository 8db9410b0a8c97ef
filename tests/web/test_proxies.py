"""The proxies of docs/howto/web.md: a real nginx, a stand-in that writes the headers of Traefik, and an ingress."""

from __future__ import annotations

import http.client
import re
import ssl
import subprocess
import threading
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest
import trustme
import yaml  # type: ignore[import-untyped]  # its stubs are a package of their own

from jobfleet import Fleet, Job
from jobfleet.web.safety.access import Role
from tests.cli.hand import Hand
from tests.deploy.deployed import TOOLS, check
from tests.deploy.test_kubernetes import EVERYTHING, helm
from tests.support.server import free_port
from tests.support.tools import tool
from tests.support.waiting import wait_until
from tests.web.conftest import PASSWORD
from tests.web.site import Answer, Site, served

PAGE = Path(__file__).parents[2] / "docs" / "howto" / "web.md"
NAME = "jobs.example.org"
NGINX = TOOLS / "usr" / "sbin" / "nginx"


def block(language: str, number: int = 0) -> str:
    """A block of code of the page."""
    found: list[str] = re.findall(rf"```{language}\n(.*?)```", PAGE.read_text(), re.DOTALL)
    return found[number]


class Outside:
    """Sends requests to a proxy with TLS, as browsers and strangers do."""

    def __init__(self, port: int, authority: trustme.CA) -> None:
        self._port = port
        self._context = ssl.create_default_context()
        authority.configure_trust(self._context)
        self.cookies: dict[str, str] = {}

    def connect(self) -> http.client.HTTPSConnection:
        """A connection; the name of the host need not resolve."""
        connection = http.client.HTTPSConnection(NAME, timeout=30, context=self._context)
        raw = http.client.HTTPConnection("127.0.0.1", self._port, timeout=30)
        raw.connect()
        connection.sock = self._context.wrap_socket(raw.sock, server_hostname=NAME)
        return connection

    def send(self, method: str, path: str, body: str | None = None, **headers: str) -> Answer:
        """Send a request with the cookies."""
        connection = self.connect()
        sent = {"Cookie": "; ".join(f"{name}={text}" for name, text in self.cookies.items())}
        connection.request(method, path, body, {**sent, **{name.replace("_", "-"): v for name, v in headers.items()}})
        response = connection.getresponse()
        answer = Answer(response.status, response.msg, response.read())
        connection.close()
        for line in answer.headers.get_all("Set-Cookie") or ():
            name, _, rest = line.partition("=")
            assert {"Secure", "Path=/", "HttpOnly"} <= set(rest.split("; ")), line
            self.cookies[name] = rest.partition(";")[0]
        return answer


@pytest.fixture
def authority() -> trustme.CA:
    return trustme.CA()


@pytest.fixture
def dashboard(make_fleet: Callable[..., Fleet], users: None) -> Iterator[Site]:
    """A dashboard with the settings of the page, and with login by header: the proxies must remove that header."""
    lines = dict(re.findall(r"export JOBFLEET_(WEB_(?:URL|TRUSTED_PROXIES))=(\S+)", PAGE.read_text()))
    settings = {name.lower(): text for name, text in lines.items()} | {"web_login_header": "X-Forwarded-User"}
    with served(make_fleet(**settings, web_open_access=False)) as site:
        yield site


@contextmanager
def nginx(folder: Path, site: Site, authority: trustme.CA) -> Iterator[int]:
    """nginx with the block of the page."""
    port, pair = free_port(), authority.issue_cert(NAME)
    pair.private_key_pem.write_to_path(str(folder / "own.key"))
    pair.cert_chain_pems[0].write_to_path(str(folder / "own.pem"))
    server = block("nginx").replace("listen 443", f"listen 127.0.0.1:{port}").replace("8765", str(site.port))
    server = re.sub(r"/etc/ssl/jobs\.example\.org\.", f"{folder}/own.", server)
    kinds = ("client_body", "proxy", "fastcgi", "uwsgi", "scgi")
    temporary = "".join(f"{kind}_temp_path {folder}/{kind};" for kind in kinds)
    (folder / "nginx.conf").write_text(
        f"daemon off; master_process off; pid {folder}/pid; error_log {folder}/error.log;"
        f"events {{}} http {{ access_log {folder}/access.log; {temporary} {server} }}"
    )
    process = subprocess.Popen([NGINX, "-p", folder, "-c", folder / "nginx.conf", "-e", folder / "error.log"])
    try:
        wait_until(lambda: (folder / "pid").exists() and (folder / "pid").read_text(), why="nginx listens")
        yield port
    finally:
        process.terminate()
        process.wait(30)


@contextmanager
def traefik(folder: Path, site: Site, authority: trustme.CA) -> Iterator[int]:
    """A stand-in for Traefik, of which there is no package: it reads the file of the page, and writes its headers."""
    http_ = yaml.safe_load(block("yaml"))["http"]
    (router,), (service,) = http_["routers"].values(), http_["services"].values()
    assert router["rule"] == f"Host(`{NAME}`)"
    assert router["service"] in http_["services"]
    assert service["loadBalancer"]["servers"] == [{"url": "http://127.0.0.1:8765"}]
    own = http_["middlewares"][router["middlewares"][0]]["headers"]["customRequestHeaders"]

    class Proxy(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.0"

        def do_GET(self) -> None:
            sent = {name: text for name, text in self.headers.items() if not name.lower().startswith("x-forwarded-")}
            sent |= {name: text for name, text in self.headers.items() if name == "X-Forwarded-User"} | own
            sent = {name: text for name, text in sent.items() if text}  # an empty one removes the header
            client = self.client_address[0]
            sent |= {"X-Forwarded-For": client, "X-Forwarded-Proto": "https", "X-Forwarded-Host": self.headers["Host"],
                     "X-Forwarded-Port": "443", "X-Forwarded-Server": "edge", "X-Real-Ip": client}  # fmt: skip
            size = int(self.headers.get("Content-Length", 0))
            inner = http.client.HTTPConnection("127.0.0.1", site.port, timeout=30)
            inner.request(self.command, self.path, self.rfile.read(size) if size else None, sent)
            answer = inner.getresponse()
            self.send_response_only(answer.status)
            for name, text in answer.getheaders():
                if name.lower() != "transfer-encoding":
                    self.send_header(name, text)
            self.end_headers()
            try:
                while part := answer.read1():
                    self.wfile.write(part)
            except OSError:
                pass  # the browser has gone
            inner.close()

        do_POST = do_GET  # noqa: N815 - http.server has such names

        def log_message(self, *_: Any) -> None:
            """Say nothing."""

    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    authority.issue_cert(NAME).configure_cert(context)
    with ThreadingHTTPServer(("127.0.0.1", 0), Proxy) as server:
        server.daemon_threads = True
        server.socket = context.wrap_socket(server.socket, server_side=True)
        thread = threading.Thread(target=server.serve_forever, daemon=True)
        thread.start()
        try:
            yield server.server_address[1]
        finally:
            server.shutdown()
            thread.join(30)


@pytest.mark.parametrize("proxy", [pytest.param(nginx, marks=tool("nginx")), traefik])
def test_the_page_shows_a_right_proxy(
    proxy: Callable[[Path, Site, trustme.CA], Any], dashboard: Site, authority: trustme.CA, tmp_path: Path,
    fleet: Fleet, hand: Hand, tokens: dict[Role, str], caplog: pytest.LogCaptureFixture,
) -> None:  # fmt: skip
    caplog.set_level("INFO", "jobfleet.web")
    fleet.enqueue(Job("x", "demo.add", id="a"))
    with ExitStack() as stack:
        port = stack.enter_context(proxy(tmp_path, dashboard, authority))
        stranger, ann = Outside(port, authority), Outside(port, authority)
        for header in ("X_Forwarded_User", "x_forwarded_user"):
            assert stranger.send("GET", "/api/v1/queues", **{header: "admin"}).status == 401
        assert stranger.send("GET", "/jobs/").headers["Location"] is None
        assert stranger.send("GET", "/queues").headers["Location"] == "/login?next=/queues"

        def post(path: str, page: str, fields: str) -> Answer:
            csrf = re.search(r'name="csrf" value="([0-9a-f]{64})"', ann.send("GET", page).text)
            assert csrf is not None
            form = {"Content_Type": "application/x-www-form-urlencoded", "Origin": f"https://{NAME}"}
            return ann.send("POST", path, f"csrf={csrf[1]}&{fields}", **form, Sec_Fetch_Site="same-origin")

        done = post("/login", "/login", f"name=operator&password={PASSWORD.replace(' ', '+')}&next=/queues")
        assert (done.status, done.headers["Location"]) == (303, "/queues")
        assert set(ann.cookies) == {"__Host-jobfleet_seat", "__Host-jobfleet_session"}
        paused = post("/queues/default/pause", "/queues", "reason=deploy")
        assert paused.headers["Location"].startswith("/queues/default?")
        live = ann.connect()
        live.request("GET", "/live/queues", headers={"Cookie": "; ".join(f"{k}={v}" for k, v in ann.cookies.items())})
        assert b"data: " in live.getresponse().read1(), "a live page is not held back"
        live.close()
        forged = {"Authorization": f"Bearer {tokens[Role.VIEWER]}", "X_Forwarded_For": "192.0.2.66"}
        assert stranger.send("POST", "/api/v1/queues/default/pause", **forged).status == 403
    (line,) = [one.getMessage() for one in caplog.records if "of-viewer is viewer" in one.getMessage()]
    assert "192.0.2.66" not in line, "an address that the client has written"
    assert [(one.paused, one.paused_reason) for one in fleet.queues()] == [("operator", "deploy")]


@tool("helm", "kubernetes_validate")
def test_the_ingress_fits_its_schema_and_the_chart() -> None:
    ingress = yaml.safe_load(block("yaml", 1))
    (path,) = ingress["spec"]["rules"][0]["http"]["paths"]
    assert path["backend"]["service"] == {"name": "jobfleet-web", "port": {"name": "http"}}
    check([ingress])
    services = {one["metadata"]["name"]: one["spec"]["ports"] for one in helm(*EVERYTHING) if one["kind"] == "Service"}
    assert [one["name"] for one in services["fleet-web"]] == ["http"], "the name of the release, and -web"
