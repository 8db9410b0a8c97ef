"""The endpoint, scraped over HTTP."""

from __future__ import annotations

import json
import os
import socket
from collections.abc import Iterator, Mapping
from http import HTTPStatus
from typing import Any
from urllib.error import HTTPError
from urllib.request import urlopen

import pytest
from prometheus_client import CollectorRegistry
from prometheus_client.parser import text_string_to_metric_families

from jobfleet.errors import ConfigError
from jobfleet.metrics.exporter import Exporter
from jobfleet.metrics.server import MetricsServer, Probe, Verdict
from jobfleet.metrics.tally import Tally


@pytest.fixture
def exporter() -> Exporter:
    return Exporter(CollectorRegistry())


@pytest.fixture
def server(exporter: Exporter) -> Iterator[MetricsServer]:
    server = MetricsServer(exporter, 0, "127.0.0.1")
    yield server
    server.close()


def scrape(port: int, path: str = "/metrics") -> str:
    with urlopen(f"http://127.0.0.1:{port}{path}", timeout=10) as answer:
        assert answer.headers["Content-Type"].startswith("text/plain")
        return str(answer.read().decode())


def ask(port: int, path: str) -> tuple[int, dict[str, Any]]:
    try:
        with urlopen(f"http://127.0.0.1:{port}{path}", timeout=10) as answer:
            status, headers, body = answer.status, answer.headers, answer.read()
    except HTTPError as error:
        status, headers, body = error.code, error.headers, error.read()
    assert (headers["Content-Type"], headers["Cache-Control"]) == ("application/json", "no-store")
    return status, json.loads(body)


def is_refused(port: int) -> bool:
    with socket.socket() as probe:
        return probe.connect_ex(("127.0.0.1", port)) != 0


def test_a_scrape_reads_what_was_merged_so_far(exporter: Exporter, server: MetricsServer) -> None:
    assert scrape(server.port) == exporter.text().decode()
    tally = Tally()
    tally.run_finished("default", "demo.add", "completed", 2_000, 40)
    exporter.merge(tally.take())
    text = scrape(server.port)
    assert text == exporter.text().decode()
    families = {family.name: family for family in text_string_to_metric_families(text)}
    assert [sample.value for sample in families["jobfleet_jobs_finished"].samples] == [1.0]


def test_a_scrape_may_ask_for_some_by_name(server: MetricsServer) -> None:
    text = scrape(server.port, "/metrics?name[]=jobfleet_rows_refused_total")
    assert [line for line in text.splitlines() if not line.startswith("#")] == ["jobfleet_rows_refused_total 0.0"]


def test_probes_answer_with_what_is_wrong(exporter: Exporter) -> None:
    found = {"/healthz": Verdict([], {"children": 2}), "/readyz": Verdict(["Redis is away."], {})}

    def broken() -> Verdict:
        raise KeyError("x")

    probes: dict[str, Probe] = {path: lambda path=path: found[path] for path in found}  # type: ignore[misc]
    server = MetricsServer(exporter, 0, "127.0.0.1", probes={**probes, "/broken": broken})
    try:
        assert ask(server.port, "/healthz") == (200, {"status": "ok", "wrong": [], "children": 2})
        assert ask(server.port, "/readyz?verbose") == (503, {"status": "unwell", "wrong": ["Redis is away."]})
        assert ask(server.port, "/broken") == (
            503,
            {"status": "unwell", "wrong": ["The probe itself failed: KeyError: 'x'."]},
        )
        status, told = ask(server.port, "/elsewhere")
        assert (status, told["wrong"]) == (
            404,
            ["No such path; use one of /metrics, /healthz, /readyz, /broken."],
        )
        assert "jobfleet_build_info" in scrape(server.port, "/")
    finally:
        server.close()


def test_a_scrape_refreshes_first_and_outlives_a_refresh_that_fails(exporter: Exporter) -> None:
    turns: list[int] = []

    def refresh() -> None:
        turns.append(1)
        exporter.set("dead_letters", ("q",), len(turns))
        if len(turns) > 1:
            raise RuntimeError("not this time")

    server = MetricsServer(exporter, 0, "127.0.0.1", refresh=refresh)
    try:
        assert 'jobfleet_dead_letters{queue="q"} 1.0' in scrape(server.port)
        assert 'jobfleet_dead_letters{queue="q"} 2.0' in scrape(server.port)
    finally:
        server.close()


def test_serves_this_machine_alone_unless_told(exporter: Exporter) -> None:
    server = MetricsServer(exporter, 0)
    assert server._http.server_address == ("127.0.0.1", server.port)
    assert "jobfleet_build_info" in scrape(server.port)
    server.close()


def test_close_frees_the_port_and_may_be_repeated(exporter: Exporter) -> None:
    first = MetricsServer(exporter, 0, "127.0.0.1")
    first.close()
    first.close()
    assert is_refused(first.port)
    second = MetricsServer(exporter, first.port, "127.0.0.1")
    assert second.port == first.port
    second.close()


@pytest.mark.parametrize("host", ["0.0.0.0", "127.0.0.1"])
def test_a_port_in_use_is_a_config_error(exporter: Exporter, host: str) -> None:
    with socket.create_server((host, 0)) as other:
        port = other.getsockname()[1]
        with pytest.raises(ConfigError) as caught:
            MetricsServer(exporter, port, host)
    remedy = "--metrics-port?" if host == "127.0.0.1" else "--metrics-port, --metrics-host?"
    assert str(caught.value) == f"Cannot serve metrics on port {port}: Address already in use ({remedy})."


@pytest.mark.parametrize(("port", "host"), [(70_000, "127.0.0.1"), (0, "no such host")])
def test_a_place_that_cannot_be_bound_is_a_config_error(exporter: Exporter, port: int, host: str) -> None:
    with pytest.raises(
        ConfigError, match=rf"Cannot serve metrics on port {port}: .+ \(--metrics-port(, --metrics-host)?\?\)\."
    ):
        MetricsServer(exporter, port, host)


@pytest.mark.filterwarnings("ignore:.*multi-threaded, use of fork:DeprecationWarning")
def test_a_forked_child_lets_go_of_the_port(exporter: Exporter) -> None:
    server = MetricsServer(exporter, 0, "127.0.0.1")
    ends, begins = os.pipe(), os.pipe()
    child = os.fork()
    if child == 0:
        os.write(begins[1], b"!")
        os.read(ends[0], 1)
        os._exit(0)
    try:
        os.read(begins[0], 1)
        assert "jobfleet_build_info" in scrape(server.port)
        server.close()
        assert is_refused(server.port)  # though the child lives
    finally:
        os.write(ends[1], b"!")
        os.waitpid(child, 0)
        for end in (*ends, *begins):
            os.close(end)


def test_a_lookup_gets_the_name_and_the_query_and_a_fault_of_it_is_an_answer(exporter: Exporter) -> None:
    def lookup(name: str, query: Mapping[str, str]) -> tuple[HTTPStatus, Mapping[str, object]]:
        if name == "broken":
            raise ValueError("no")
        return HTTPStatus.OK, {"name": name, "query": query}

    server = MetricsServer(exporter, 0, lookups={"/scale/": lookup})
    try:
        found = ask(server.port, "/scale/a%20b?most=3&wait=1m")
        assert found == (200, {"name": "a b", "query": {"most": "3", "wait": "1m"}})
        assert ask(server.port, "/scale/a?wait=")[1]["query"] == {"wait": ""}
        assert ask(server.port, "/scale/a?most=1&most=2") == (
            400, {"wrong": ["A parameter is given twice; give each once."]}
        )  # fmt: skip
        assert ask(server.port, "/scale/broken")[0] == 500
        status, body = ask(server.port, "/scale/")
        assert (status, body) == (404, {"wrong": ["No such path; use one of /metrics, /scale/NAME."]})
        assert ask(server.port, "/scale/a/b")[0] == 404
    finally:
        server.close()
