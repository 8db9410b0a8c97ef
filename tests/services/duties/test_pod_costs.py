"""The deletion costs of pods: which are set, when they are set again, and faults of the API server."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import redis
import trustme

from jobfleet import AsyncFleet
from jobfleet.codec import encode
from jobfleet.config import JobConfig
from jobfleet.metrics.tally import Mute
from jobfleet.services.duties.pod_costs import AFTER_REFUSAL, COST, EVERY, Kubernetes, KubernetesError, PodCosts
from jobfleet.store.aio import AsyncStore
from jobfleet.store.calls.presence import beat
from tests.support.apiserver import NAMESPACE, ApiServer
from tests.support.seed import S
from tests.support.state import server_now


@pytest.fixture
def api(tmp_path: Path) -> Iterator[ApiServer]:
    server = ApiServer(tmp_path)
    yield server
    server.close()


@pytest.fixture
def kubernetes(api: ApiServer, tmp_path: Path) -> Kubernetes:
    found = Kubernetes.here(api.environ, tmp_path)
    assert found is not None
    return found


@pytest.fixture
def duty(store: AsyncStore, kubernetes: Kubernetes, redis_url: str) -> PodCosts:
    return PodCosts(store, JobConfig(url=redis_url), Mute(), kubernetes)


async def serves(store: AsyncStore, fleet: AsyncFleet, worker: str, host: str, running: int, **more: Any) -> None:
    account = {"host": host, "queues": ["mail"], "slots": 9, "running": running, "state": "running", **more}
    await store.run(beat(fleet.context.keys, worker, account=encode(account), gone_us=20 * S, functions={}))


async def test_the_idlest_pod_is_the_cheapest_and_of_idle_ones_the_oldest_code(
    duty: PodCosts, store: AsyncStore, fleet: AsyncFleet, raw: redis.Redis, api: ApiServer
) -> None:
    now = server_now(raw)
    raw.zadd(fleet.context.keys.versions, {"v1": now - 900 * S, "v2": now - 90 * S})
    api.pods = {name: {"other": "kept"} for name in ("busy", "old", "new", "twice", "gone")}
    await serves(store, fleet, "w1", "busy", 5, label="v1")
    await serves(store, fleet, "w2", "old", 0, label="v1")
    await serves(store, fleet, "w3", "new", 0, label="v2")
    await serves(store, fleet, "w4", "twice", 1, label="v2")
    await serves(store, fleet, "w5", "twice", 1, label="v1")
    await serves(store, fleet, "w6", "laptop", 1)
    await serves(store, fleet, "w7", "../nodes/x", 1)
    await serves(store, fleet, "w8", "gone", 1)
    raw.zadd(fleet.context.keys.workers, {"w8": now - 60 * S})

    assert await duty.turn() == EVERY

    costs = {pod: found.get(COST) for pod, found in api.pods.items()}
    assert costs == {"busy": "3000", "old": "0", "new": "1", "twice": "2001", "gone": None}
    assert api.pods["old"]["other"] == "kept"
    assert ("/api/v1/namespaces/shop/pods/laptop", 404) in api.requests
    assert not any("nodes" in path for path, _ in api.requests)

    api.requests.clear()
    await serves(store, fleet, "w1", "busy", 6, label="v1")
    await duty.turn()
    assert api.requests == []  # nothing has changed that matters, and the laptop is not asked for again

    await serves(store, fleet, "w2", "old", 1, label="v1")
    await duty.turn()
    assert api.requests == [(f"/api/v1/namespaces/{NAMESPACE}/pods/old", 200)]


async def test_a_refusal_and_an_outage_are_logged_and_harm_nothing(
    duty: PodCosts,
    store: AsyncStore,
    fleet: AsyncFleet,
    api: ApiServer,
    tmp_path: Path,
    caplog: pytest.LogCaptureFixture,
) -> None:
    caplog.set_level(logging.INFO, "jobfleet.reaper")
    api.pods = {"pod": {}}
    await serves(store, fleet, "w1", "pod", 0)
    api.may_patch = False

    assert await duty.turn() == AFTER_REFUSAL
    assert "answered 403" in caplog.text
    assert "let the service account patch pods, or set pod_costs = false" in caplog.text

    api.may_patch = True
    (tmp_path / "token").write_text("another")
    assert await duty.turn() == AFTER_REFUSAL
    api.close()
    assert await duty.turn() == EVERY
    assert api.pods == {"pod": {}}


def test_the_server_must_have_a_certificate_of_the_accounts_authority(
    kubernetes: Kubernetes, api: ApiServer, tmp_path: Path
) -> None:
    trustme.CA().cert_pem.write_to_path(str(tmp_path / "ca.crt"))
    api.pods = {"pod": {}}

    with pytest.raises(KubernetesError, match="CERTIFICATE_VERIFY_FAILED"):
        kubernetes.annotate("pod", {COST: "1"})

    assert api.requests == []


def test_outside_of_a_pod_there_is_no_api_server(api: ApiServer, tmp_path: Path) -> None:
    assert Kubernetes.here({}, tmp_path) is None
    assert Kubernetes.here(api.environ, tmp_path / "missing") is None
    assert Kubernetes.here({"KUBERNETES_SERVICE_HOST": "[::1]"}, tmp_path) == ("::1", 443, tmp_path)
